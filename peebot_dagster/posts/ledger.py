"""The ledger of publishing in SQL: which events await a decision, and what was decided."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

import psycopg
from psycopg.rows import class_row

from peebot_dagster.posts.composing import NO_REPEAT_WITHIN, Composition
from peebot_dagster.posts.policy import Candidate, PastPost, PostPolicy

EVENT_TYPE = "toilet_visit"
"""The events that are posted about."""

PostState = Literal["sent", "dry_run", "skipped", "failed", "unknown"]


@dataclass(frozen=True)
class PostDecision:
    """What became of one event on one platform. `reason` is given unless it was sent or a dry run."""

    event_id: uuid.UUID
    platform: str
    state: PostState
    text: str | None = None
    template: str | None = None
    external_id: str | None = None
    link: str | None = None
    reason: str | None = None


def lock_ledger(connection: psycopg.Connection, platform: str) -> None:
    """Let one run at a time decide about a platform, until the commit: its cooldown spans events."""
    connection.execute("SELECT pg_advisory_xact_lock(hashtext('peebot.post'), hashtext(%s))", [platform])


def give_up_abandoned(
    connection: psycopg.Connection, platform: str, abandoned_after: timedelta, now: datetime
) -> list[PostDecision]:
    """Claims of runs that died while sending become unknown: maybe public, so nobody sends them again."""
    return _decisions(
        connection,
        """
        UPDATE post SET state = 'unknown', reason = 'crashed_while_sending', updated_at = %(now)s
        WHERE platform = %(platform)s AND state = 'claimed' AND updated_at < %(now)s - %(abandoned_after)s
        RETURNING event_id, platform, state, text, template, external_id, NULL AS link, reason
        """,
        {"platform": platform, "now": now, "abandoned_after": abandoned_after},
    )


def skip_stale(
    connection: psycopg.Connection, platform: str, policy: PostPolicy, now: datetime
) -> list[PostDecision]:
    """All events that are too old, in one statement, as a backfill brings thousands of them."""
    return _decisions(
        connection,
        """
        INSERT INTO post (event_id, platform, state, reason, created_at, updated_at)
        SELECT event_id, %(platform)s, 'skipped',
            CASE state WHEN 'retracted' THEN 'retracted' ELSE 'stale' END, %(now)s, %(now)s
        FROM detected_event event
        WHERE event_type = %(event_type)s AND started_at < %(now)s - %(freshness)s
            AND NOT EXISTS (
                SELECT FROM post WHERE post.event_id = event.event_id AND platform = %(platform)s
            )
        ON CONFLICT DO NOTHING
        RETURNING event_id, platform, state, text, template, external_id, NULL AS link, reason
        """,
        {"platform": platform, "event_type": EVENT_TYPE, "now": now, "freshness": policy.freshness},
    )


def undecided(connection: psycopg.Connection, platform: str) -> list[Candidate]:
    """The events without a row in the ledger, oldest first."""
    with connection.cursor(row_factory=class_row(Candidate)) as cursor:
        return cursor.execute(
            """
            SELECT event_id, started_at, state, confidence
            FROM detected_event event
            WHERE event_type = %(event_type)s
                AND NOT EXISTS (
                    SELECT FROM post WHERE post.event_id = event.event_id AND platform = %(platform)s
                )
            ORDER BY started_at, event_id
            """,
            {"event_type": EVENT_TYPE, "platform": platform},
        ).fetchall()


def recent_posts(connection: psycopg.Connection, platform: str) -> list[PastPost]:
    """The latest posts that are, or may be, public, newest first; enough of them to not repeat a joke."""
    with connection.cursor(row_factory=class_row(PastPost)) as cursor:
        return cursor.execute(
            """
            SELECT event.started_at AS event_started_at, post.created_at AS posted_at, post.template
            FROM post JOIN detected_event event USING (event_id)
            WHERE post.platform = %(platform)s AND post.state IN ('claimed', 'sent', 'dry_run', 'unknown')
            ORDER BY post.created_at DESC, event.started_at DESC
            LIMIT %(limit)s
            """,
            {"platform": platform, "limit": NO_REPEAT_WITHIN},
        ).fetchall()


def skip(
    connection: psycopg.Connection, platform: str, event_id: uuid.UUID, reason: str, now: datetime
) -> bool:
    """Write down that an event is not posted. False when there is a row already."""
    cursor = connection.execute(
        """
        INSERT INTO post (event_id, platform, state, reason, created_at, updated_at)
        VALUES (%(event_id)s, %(platform)s, 'skipped', %(reason)s, %(now)s, %(now)s)
        ON CONFLICT DO NOTHING RETURNING event_id
        """,
        {"event_id": event_id, "platform": platform, "reason": reason, "now": now},
    )
    return cursor.fetchone() is not None


def claim(
    connection: psycopg.Connection, platform: str, event_id: uuid.UUID, post: Composition, now: datetime
) -> bool:
    """Reserve the sending of an event for this run. False when another run has it."""
    cursor = connection.execute(
        """
        INSERT INTO post (event_id, platform, state, text, template, attempts, created_at, updated_at)
        VALUES (%(event_id)s, %(platform)s, 'claimed', %(text)s, %(template)s, 1, %(now)s, %(now)s)
        ON CONFLICT DO NOTHING RETURNING event_id
        """,
        {
            "event_id": event_id,
            "platform": platform,
            "text": post.text,
            "template": post.template,
            "now": now,
        },
    )
    return cursor.fetchone() is not None


def record(connection: psycopg.Connection, decision: PostDecision, now: datetime) -> None:
    """Write down what became of a claim."""
    connection.execute(
        """
        UPDATE post
        SET state = %(state)s, external_id = %(external_id)s, reason = %(reason)s, updated_at = %(now)s
        WHERE event_id = %(event_id)s AND platform = %(platform)s
        """,
        {
            "event_id": decision.event_id,
            "platform": decision.platform,
            "state": decision.state,
            "external_id": decision.external_id,
            "reason": decision.reason,
            "now": now,
        },
    )


def _decisions(
    connection: psycopg.Connection, statement: str, parameters: dict[str, object]
) -> list[PostDecision]:
    with connection.cursor(row_factory=class_row(PostDecision)) as cursor:
        return cursor.execute(statement, parameters).fetchall()
