"""The ledger of publishing in SQL: which events await a decision, and what was decided."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

import psycopg
from psycopg.rows import class_row

from peebot_dagster.posts.composing import NO_REPEAT_WITHIN, Composition
from peebot_dagster.posts.mute import current_mute, hold_mute
from peebot_dagster.posts.policy import Candidate, PastPost, Situation, month_start

PostState = Literal["sent", "dry_run", "skipped", "failed", "unknown"]


@dataclass(frozen=True)
class PostDecision:
    """What became of one event on one platform. `reason` is given unless it was sent.

    `resume_at` (UTC) is until when the platform takes no more, as it said with a refusal.
    """

    event_id: uuid.UUID
    platform: str
    state: PostState
    text: str | None = None
    template: str | None = None
    external_id: str | None = None
    link: str | None = None
    reason: str | None = None
    resume_at: datetime | None = None


def lock_ledger(connection: psycopg.Connection, platform: str) -> None:
    """Let one run at a time decide about a platform, until the commit: its cooldown spans events.

    A mute, too, waits for the commit: when it is in force no decision is under way that has not seen it.
    """
    connection.execute("SELECT pg_advisory_xact_lock(hashtext('peebot.post'), hashtext(%s))", [platform])
    hold_mute(connection)


def lock_texts(connection: psycopg.Connection) -> None:
    """Let one platform at a time choose a text, until the commit: all get the same. After lock_ledger."""
    connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('peebot.post.text', 0))")


def give_up_abandoned(
    connection: psycopg.Connection, platform: str, abandoned_after: timedelta, now: datetime
) -> list[PostDecision]:
    """Claims of runs that died while sending become unknown: maybe public, so nobody sends them again."""
    with connection.cursor(row_factory=class_row(PostDecision)) as cursor:
        return cursor.execute(
            """
            UPDATE post SET state = 'unknown', reason = 'crashed_while_sending', updated_at = %(now)s
            WHERE platform = %(platform)s AND state = 'claimed' AND updated_at < %(now)s - %(abandoned_after)s
            RETURNING event_id, platform, state, text, template, external_id, link, reason, resume_at
            """,
            {"platform": platform, "now": now, "abandoned_after": abandoned_after},
        ).fetchall()


def is_abandoned(
    connection: psycopg.Connection, platform: str, abandoned_after: timedelta, now: datetime
) -> bool:
    """Whether give_up_abandoned would find a claim."""
    row = connection.execute(
        """
        SELECT FROM post
        WHERE platform = %(platform)s AND state = 'claimed' AND updated_at < %(now)s - %(abandoned_after)s
        LIMIT 1
        """,
        {"platform": platform, "now": now, "abandoned_after": abandoned_after},
    ).fetchone()
    return row is not None


def undecided(connection: psycopg.Connection, platform: str, event_types: Collection[str]) -> list[Candidate]:
    """The events of these types without a row in the ledger, oldest first.

    What is played without a known end goes on until a real feed is heard anew: readings are stored a moment
    before their link is confirmed, and a daemon that dies in between confirms them never.
    """
    with connection.cursor(row_factory=class_row(Candidate)) as cursor:
        return cursor.execute(
            """
            WITH played AS (
                SELECT split_part(source, '/', 1) AS source, started_at,
                    coalesce(ended_at, (
                        SELECT min(started_at) FROM link_interval station
                        WHERE split_part(station.source, '/', 1) NOT IN ('replay', 'simulator')
                            AND station.state = 'LIVE' AND station.started_at > link.last_seen_at
                    ), 'infinity') AS until
                FROM link_interval link WHERE split_part(source, '/', 1) IN ('replay', 'simulator')
            )
            SELECT event_id, started_at, state, confidence, detected_at,
                CASE WHEN EXISTS (SELECT FROM played WHERE source = 'replay'
                                  AND event.started_at BETWEEN played.started_at AND until) THEN 'replay'
                     WHEN EXISTS (SELECT FROM played WHERE source = 'simulator'
                                  AND event.started_at BETWEEN played.started_at AND until) THEN 'demo'
                END AS played
            FROM detected_event event
            WHERE event_type = ANY(%(event_types)s)
                AND NOT EXISTS (
                    SELECT FROM post WHERE post.event_id = event.event_id AND platform = %(platform)s
                )
            ORDER BY started_at, event_id
            """,
            {"event_types": list(event_types), "platform": platform},
        ).fetchall()


def situation(connection: psycopg.Connection, platform: str, now: datetime) -> Situation:
    """How things stand with a platform at `now` (UTC)."""
    with connection.cursor(row_factory=class_row(PastPost)) as cursor:
        recent = cursor.execute(
            """
            SELECT event.started_at AS event_started_at, post.created_at AS posted_at
            FROM post JOIN detected_event event USING (event_id)
            WHERE post.platform = %(platform)s AND post.state IN ('claimed', 'sent', 'dry_run', 'unknown')
            ORDER BY post.created_at DESC, event.started_at DESC
            LIMIT %(limit)s
            """,
            {"platform": platform, "limit": NO_REPEAT_WITHIN},
        ).fetchall()
    ((this_month, resume_at),) = connection.execute(
        """
        SELECT count(*) FILTER (WHERE state IN ('claimed', 'sent', 'unknown') AND created_at >= %(month)s),
               max(resume_at)
        FROM post WHERE platform = %(platform)s AND created_at >= %(month)s - interval '1 month'
        """,
        {"platform": platform, "month": month_start(now)},
    ).fetchall()
    muted = current_mute(connection, now) is not None
    return Situation(platform, recent, this_month, muted, resume_at)


def composed(connection: psycopg.Connection, event_id: uuid.UUID) -> Composition | None:
    """What was composed about an event for another platform: each gets the same text."""
    with connection.cursor(row_factory=class_row(Composition)) as cursor:
        return cursor.execute(
            """
            SELECT text, template FROM post
            WHERE event_id = %s AND text IS NOT NULL AND template IS NOT NULL
            ORDER BY created_at, platform LIMIT 1
            """,
            [event_id],
        ).fetchone()


def recent_templates(connection: psycopg.Connection) -> list[str]:
    """The jokes of the latest NO_REPEAT_WITHIN posts of each platform, newest first."""
    rows = connection.execute(
        """
        SELECT told.template
        FROM (SELECT DISTINCT platform FROM post) AS known, LATERAL (
            SELECT template, created_at FROM post
            WHERE platform = known.platform AND state IN ('claimed', 'sent', 'dry_run', 'unknown')
                AND template IS NOT NULL
            ORDER BY created_at DESC LIMIT %s
        ) AS told
        ORDER BY told.created_at DESC, told.template
        """,
        [NO_REPEAT_WITHIN],
    ).fetchall()
    return [template for (template,) in rows]


def skip(
    connection: psycopg.Connection,
    platform: str,
    reasons: Sequence[tuple[uuid.UUID, str]],
    now: datetime,
) -> list[PostDecision]:
    """Write down why these events are not posted, in one statement, as a backfill brings thousands of them.

    Leaves out those that have a row already.
    """
    if not reasons:
        return []
    with connection.cursor(row_factory=class_row(PostDecision)) as cursor:
        return cursor.execute(
            """
            INSERT INTO post (event_id, platform, state, reason, created_at, updated_at)
            SELECT event_id, %(platform)s, 'skipped', reason, %(now)s, %(now)s
            FROM unnest(%(events)s::uuid[], %(reasons)s::text[]) AS skipped (event_id, reason)
            ON CONFLICT DO NOTHING RETURNING event_id, platform, state, reason
            """,
            {
                "platform": platform,
                "events": [event_id for event_id, _ in reasons],
                "reasons": [reason for _, reason in reasons],
                "now": now,
            },
        ).fetchall()


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
        SET state = %(state)s, external_id = %(external_id)s, link = %(link)s, reason = %(reason)s,
            resume_at = %(resume_at)s, updated_at = %(now)s
        WHERE event_id = %(event_id)s AND platform = %(platform)s
        """,
        {
            "event_id": decision.event_id,
            "platform": decision.platform,
            "state": decision.state,
            "external_id": decision.external_id,
            "link": decision.link,
            "reason": decision.reason,
            "resume_at": decision.resume_at,
            "now": now,
        },
    )
