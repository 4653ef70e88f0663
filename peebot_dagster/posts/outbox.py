"""Publishing at most once: claim, send, record, each in its own transaction.

A crash at any point leaves either nothing sent, or a claimed row that a later run marks as unknown and never
sends.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime

import psycopg
from psycopg.pq import TransactionStatus

from peebot_dagster.posts import ledger
from peebot_dagster.posts.composing import Composition, compose
from peebot_dagster.posts.jokes import load_jokes
from peebot_dagster.posts.ledger import PostDecision
from peebot_dagster.posts.policy import PostPolicy, decide
from peebot_dagster.posts.publishers import Publisher, PublishRefused, PublishUncertain
from peebot_dagster.posts.visit_history import event_facts


@dataclass(frozen=True)
class _Claim:
    event_id: uuid.UUID
    post: Composition


def publish_new_events(
    connection: psycopg.Connection, publisher: Publisher, policy: PostPolicy, now: datetime
) -> list[PostDecision]:
    """Decide about each event without a row in the ledger for the publisher's platform, and send what is due.

    Returns the decisions taken now, in order. Events that may still grow are left for a later call. Safe to
    call at any time, again, and by several processes at once. The connection must not be in a transaction.
    """
    if connection.info.transaction_status != TransactionStatus.IDLE:
        # A claim inside the caller's transaction would vanish with it after the post has been sent.
        raise RuntimeError(
            "publish_new_events needs a connection outside of a transaction: commit or roll back first"
        )
    platform = publisher.platform
    with connection.transaction():
        decisions = ledger.give_up_abandoned(connection, platform, policy.abandoned_after, now)
    with connection.transaction():
        ledger.lock_ledger(connection, platform)
        decisions += ledger.skip_stale(connection, platform, policy, now)
    while True:
        with connection.transaction():
            skipped, claimed = _claim_next(connection, platform, policy, now)
        decisions += skipped
        if claimed is None:
            return decisions
        decision = _send(publisher, claimed)
        with connection.transaction():
            ledger.record(connection, decision, now)
        decisions.append(decision)


def _claim_next(
    connection: psycopg.Connection, platform: str, policy: PostPolicy, now: datetime
) -> tuple[list[PostDecision], _Claim | None]:
    ledger.lock_ledger(connection, platform)
    recent = ledger.recent_posts(connection, platform)
    skipped = []
    for event in ledger.undecided(connection, platform):
        verdict = decide(event, now, recent, policy)
        if verdict.action == "skip" and verdict.reason is not None:
            if ledger.skip(connection, platform, event.event_id, verdict.reason, now):
                skipped.append(PostDecision(event.event_id, platform, "skipped", reason=verdict.reason))
        elif verdict.action == "publish":
            facts = event_facts(connection, event.event_id)
            post = compose(event.event_id, facts, [past.template for past in recent], load_jokes())
            if ledger.claim(connection, platform, event.event_id, post, now):
                return skipped, _Claim(event.event_id, post)
    return skipped, None


def _send(publisher: Publisher, claimed: _Claim) -> PostDecision:
    event_id, platform, post = claimed.event_id, publisher.platform, claimed.post
    try:
        result = publisher.publish(post.text)
    except PublishRefused as refusal:
        return PostDecision(event_id, platform, "failed", post.text, post.template, reason=str(refusal))
    except PublishUncertain as doubt:
        return PostDecision(event_id, platform, "unknown", post.text, post.template, reason=str(doubt))
    return PostDecision(
        event_id,
        platform,
        "dry_run" if result.external_id is None else "sent",
        post.text,
        post.template,
        external_id=result.external_id,
        link=result.link,
    )
