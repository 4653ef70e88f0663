"""Publishing at most once: claim, send, record, each in its own transaction.

A crash at any point leaves either nothing sent, or a claimed row that a later run marks as unknown and never
sends.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from functools import partial

import psycopg
from psycopg.pq import TransactionStatus

from peebot_dagster.posts import ledger
from peebot_dagster.posts.composing import Composition, compose
from peebot_dagster.posts.jokes import load_jokes
from peebot_dagster.posts.ledger import PostDecision
from peebot_dagster.posts.mute import current_mute
from peebot_dagster.posts.outcomes import Image, Message, Publisher, PublishRefused, PublishUncertain
from peebot_dagster.posts.policy import PostPolicy, decide
from peebot_dagster.posts.publishers import DRY_RUN
from peebot_dagster.posts.visit_history import event_facts

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Claim:
    event_id: uuid.UUID
    started_at: datetime
    post: Composition


@dataclass(frozen=True)
class _Step:
    """What was skipped on the way to the next post, and that: claimed, or to be drawn first."""

    skipped: list[PostDecision]
    claimed: _Claim | None
    to_draw: uuid.UUID | None


class _MutedMeanwhile(Exception):  # noqa: N818 - the wish of the operator, not a fault
    """A mute came between the claim and the post."""


def publish_everywhere(
    connect: Callable[[], AbstractContextManager[psycopg.Connection]],
    publishers: Sequence[Publisher],
    policy: PostPolicy,
    clock: Callable[[], datetime],
) -> list[PostDecision]:
    """publish_new_events for all platforms side by side, each on a connection of its own.

    What one of them answers, and how long it takes, is nothing to the others. A fault of ours on one of them
    is raised when all are through.
    """

    def publish_on(publisher: Publisher) -> list[PostDecision]:
        with connect() as connection:
            return publish_new_events(connection, publisher, policy, clock)

    with ThreadPoolExecutor(max_workers=len(publishers), thread_name_prefix="publish") as threads:
        decided = [threads.submit(publish_on, publisher) for publisher in publishers]
    return [decision for platform in decided for decision in platform.result()]


def publish_new_events(
    connection: psycopg.Connection,
    publisher: Publisher,
    policy: PostPolicy,
    clock: Callable[[], datetime],
) -> list[PostDecision]:
    """Decide about each event without a row in the ledger for the publisher's platform, and send what is due.

    Returns the decisions taken now, in order. Events that may still grow are left for a later call. Safe to
    call at any time, again, and by several processes at once. The connection must not be in a transaction.
    `clock` (UTC) is read with each decision: platforms may take minutes.
    """
    if connection.info.transaction_status != TransactionStatus.IDLE:
        # A claim inside the caller's transaction would vanish with it after the post has been sent.
        raise RuntimeError(
            "publish_new_events needs a connection outside of a transaction: commit or roll back first"
        )
    platform = publisher.platform
    with connection.transaction():
        decisions = ledger.give_up_abandoned(connection, platform, policy.abandoned_after, clock())
    pictures: dict[uuid.UUID, Image | None] | None = {} if policy.picture and platform != DRY_RUN else None
    while True:
        with connection.transaction():
            step = _claim_next(connection, platform, policy, clock, pictures)
        decisions += step.skipped
        if step.to_draw is not None and pictures is not None:
            # Before the claim: it takes seconds, in which a mute may come.
            pictures[step.to_draw] = _picture(connection, step.to_draw)
            continue
        if step.claimed is None:
            return decisions
        image = pictures[step.claimed.event_id] if pictures is not None else None
        decision = _send(publisher, step.claimed, image, partial(_unless_muted, connection, clock))
        with connection.transaction():
            ledger.record(connection, decision, clock())
        decisions.append(decision)


def due_actions(
    connection: psycopg.Connection, platforms: Collection[str], policy: PostPolicy, now: datetime
) -> set[str]:
    """What publishing would do at `now` (UTC): some of publish, skip, give_up and wait; or nothing."""
    actions: set[str] = set()
    for platform in platforms:
        if ledger.is_abandoned(connection, platform, policy.abandoned_after, now):
            actions.add("give_up")
        if candidates := ledger.undecided(connection, platform, policy.event_types):
            situation = ledger.situation(connection, platform, now)
            actions |= {decide(candidate, now, situation, policy).action for candidate in candidates}
    return actions


def _claim_next(
    connection: psycopg.Connection,
    platform: str,
    policy: PostPolicy,
    clock: Callable[[], datetime],
    pictures: Mapping[uuid.UUID, Image | None] | None,
) -> _Step:
    """With `pictures` an event is claimed only once its own is among them, drawn or found impossible."""
    ledger.lock_ledger(connection, platform)
    # After waiting for the lock.
    now = clock()
    situation = ledger.situation(connection, platform, now)
    reasons: list[tuple[uuid.UUID, str]] = []
    claimed = to_draw = None
    for event in ledger.undecided(connection, platform, policy.event_types):
        verdict = decide(event, now, situation, policy)
        if verdict.reason is not None:
            reasons.append((event.event_id, verdict.reason))
        elif verdict.action == "publish":
            post = _text(connection, event.event_id)
            if post is None:
                reasons.append((event.event_id, "no_joke"))
            elif pictures is not None and event.event_id not in pictures:
                to_draw = event.event_id
                break
            elif ledger.claim(connection, platform, event.event_id, post, now):
                claimed = _Claim(event.event_id, event.started_at, post)
                break
    return _Step(ledger.skip(connection, platform, reasons, now), claimed, to_draw)


def _text(connection: psycopg.Connection, event_id: uuid.UUID) -> Composition | None:
    ledger.lock_texts(connection)
    told = ledger.composed(connection, event_id)
    if told is not None:
        return told
    facts = event_facts(connection, event_id)
    return compose(event_id, facts, ledger.recent_templates(connection), load_jokes())


def _picture(connection: psycopg.Connection, event_id: uuid.UUID) -> Image | None:
    # Imported here: the module is for those who ask for pictures.
    from peebot_dagster.posts.picture import event_picture

    try:
        with connection.transaction():
            return event_picture(connection, event_id)
    except Exception:
        if connection.closed:
            # Nothing could be claimed any more.
            raise
        log.exception("The picture of event %s could not be drawn; the text goes alone", event_id)
        return None


def _unless_muted(connection: psycopg.Connection, clock: Callable[[], datetime]) -> None:
    with connection.transaction():
        if current_mute(connection, clock()) is not None:
            raise _MutedMeanwhile


def _send(
    publisher: Publisher, claimed: _Claim, image: Image | None, last_check: Callable[[], None]
) -> PostDecision:
    event_id, platform, post = claimed.event_id, publisher.platform, claimed.post
    try:
        result = publisher.publish(
            Message(
                post.text,
                key=str(event_id),
                happened_at=claimed.started_at,
                image=image,
                last_check=last_check,
            )
        )
    except _MutedMeanwhile:
        return PostDecision(event_id, platform, "skipped", post.text, post.template, reason="muted")
    except PublishRefused as refusal:
        return PostDecision(
            event_id,
            platform,
            "failed",
            post.text,
            post.template,
            reason=str(refusal),
            resume_at=refusal.resume_at,
        )
    except PublishUncertain as doubt:
        return PostDecision(event_id, platform, "unknown", post.text, post.template, reason=str(doubt))
    except Exception as error:
        # A fault of ours or of a library, at a moment when the post may be out. Only the kind is told: what
        # a library puts into its messages is not ours to show.
        kind = type(error).__name__
        log.error("Posting on %s failed in a way that nobody foresaw: %s", platform, kind)
        return PostDecision(
            event_id, platform, "unknown", post.text, post.template, reason=f"unexpected_error: {kind}"
        )
    nothing_sent = result.external_id is None
    return PostDecision(
        event_id,
        platform,
        "dry_run" if nothing_sent else "sent",
        post.text,
        post.template,
        external_id=result.external_id,
        link=result.link,
        reason="dry_run" if nothing_sent else None,
    )
