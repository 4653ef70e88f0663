"""What has been told whom, in the store. No clock."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

import psycopg

from peebot_dagster.alerts.conditions import Judgement
from peebot_dagster.alerts.messages import News
from peebot_dagster.posts.visit_history import VISIT_TYPES

REPEATED_AFTER = timedelta(days=1)
CLAIM = timedelta(minutes=5)
"""Longer than a sensor's tick may take (180 s: DAGSTER_SENSOR_GRPC_TIMEOUT_SECONDS)."""
OCCURRENCE_KEPT = timedelta(days=2)
"""Longer than the sensor ever looks back, so that what was told is not told again."""
FIRST_RETRY = timedelta(minutes=1)
LONGEST_RETRY = timedelta(minutes=15)

_SEEN = """
INSERT INTO alert_condition AS c (condition, title, advice, ending, began_at, due_at)
VALUES (%(key)s, %(title)s, %(advice)s, %(ending)s, coalesce(%(since)s::timestamptz, %(now)s),
        coalesce(%(since)s::timestamptz, %(now)s) + %(patience)s)
ON CONFLICT (condition) DO UPDATE SET title = excluded.title, advice = excluded.advice,
    ending = excluded.ending, over_at = NULL,
    (began_at, due_at) = (
        SELECT began, due FROM (VALUES
            -- What was told keeps its begin; what ended unseen, before it was told, begins anew.
            (c.over_at IS NULL AND (%(since)s::timestamptz IS NULL
                OR EXISTS (SELECT FROM alert_told t WHERE t.condition = c.condition)),
             c.began_at, c.due_at),
            (true, excluded.began_at, excluded.due_at)
        ) AS version (holds, began, due) WHERE holds LIMIT 1
    )
"""
_OCCURRED = """
INSERT INTO alert_condition (condition, title, advice, ending, began_at, due_at)
VALUES (%(key)s, %(title)s, %(advice)s, '', %(at)s, %(at)s) ON CONFLICT (condition) DO NOTHING
"""
# An occurrence has no ending: it is told once, and kept for a while so that it is not told twice.
_NEWS = """
SELECT c.condition, c.title, c.advice, c.ending, c.began_at, c.over_at, t.told_at IS NOT NULL
FROM alert_condition c LEFT JOIN alert_told t ON t.condition = c.condition AND t.destination = %(destination)s
WHERE NOT c.condition = ANY(%(unknown)s) AND CASE WHEN c.over_at IS NULL
    THEN c.due_at <= %(now)s
        AND (t.told_at IS NULL OR t.told_at <= %(now)s - %(repeated_after)s AND c.ending <> '')
    ELSE t.told_at IS NOT NULL END
ORDER BY c.over_at IS NULL DESC, c.began_at, c.condition
"""
_CLAIM = """
INSERT INTO alert_destination AS d (destination, claimed_until) VALUES (%(destination)s, %(until)s)
ON CONFLICT (destination) DO UPDATE SET claimed_until = excluded.claimed_until
WHERE coalesce(d.claimed_until <= %(now)s, true) AND coalesce(d.retry_at <= %(now)s, true)
RETURNING destination
"""
_TOLD = """
INSERT INTO alert_told (condition, destination, told_at)
SELECT condition, %(destination)s, %(now)s FROM alert_condition WHERE condition = ANY(%(conditions)s)
ON CONFLICT (condition, destination) DO UPDATE SET told_at = excluded.told_at
"""
_FAILED = """
UPDATE alert_destination SET claimed_until = NULL, failures = failures + 1, last_failure = %(why)s,
    retry_at = %(now)s + least(%(first)s * power(2, least(failures, 20)), %(longest)s)
WHERE destination = %(destination)s
"""


def newest_visit(connection: psycopg.Connection) -> datetime | None:
    """When the newest visit began (UTC), or None before the first."""
    row = connection.execute(
        "SELECT max(started_at) FROM detected_event WHERE event_type = ANY(%s) AND state <> 'retracted'",
        (list(VISIT_TYPES),),
    ).fetchone()
    return None if row is None else row[0]


def observe(
    connection: psycopg.Connection, judgement: Judgement, destinations: Collection[str], now: datetime
) -> None:
    """Note what stands, what is over and what has happened at `now` (UTC); forget what nobody asks for or
    needs to be told any more."""
    for condition in judgement.standing:
        connection.execute(
            _SEEN,
            {
                "key": condition.key,
                "title": condition.title,
                "advice": condition.advice,
                "ending": condition.ending,
                "since": condition.since,
                "patience": condition.patience,
                "now": now,
            },
        )
    for occurrence in judgement.occurred:
        connection.execute(
            _OCCURRED,
            {
                "key": occurrence.key,
                "title": occurrence.title,
                "advice": occurrence.advice,
                "at": occurrence.at,
            },
        )
    connection.execute(
        "UPDATE alert_condition SET over_at = %s WHERE over_at IS NULL AND condition = ANY(%s)",
        (now, list(judgement.absent)),
    )
    asked = [*(condition.key for condition in judgement.standing), *judgement.absent, *judgement.unknown]
    connection.execute(
        "DELETE FROM alert_condition WHERE CASE WHEN ending = '' THEN began_at <= %s"
        " ELSE NOT condition = ANY(%s) END",
        (now - OCCURRENCE_KEPT, asked),
    )
    for forget in (
        "DELETE FROM alert_destination WHERE NOT destination = ANY(%s)",
        "DELETE FROM alert_told WHERE NOT destination = ANY(%s)",
    ):
        connection.execute(forget, (list(destinations),))
    connection.execute(
        "DELETE FROM alert_condition c WHERE over_at IS NOT NULL"
        " AND NOT EXISTS (SELECT FROM alert_told t WHERE t.condition = c.condition)"
    )


def claim(
    connection: psycopg.Connection, destination: str, unknown: Collection[str], now: datetime
) -> list[News]:
    """What to tell this destination at `now` (UTC), which nobody else tells it meanwhile; or nothing.

    Nothing also while another one sends to it, or it is not yet time to try again after a failure; and
    nothing of the conditions that are `unknown`, of which only something old could be said.
    """
    rows = connection.execute(
        _NEWS,
        {
            "destination": destination,
            "unknown": list(unknown),
            "now": now,
            "repeated_after": REPEATED_AFTER,
        },
    ).fetchall()
    if not rows:
        return []
    claimed = connection.execute(
        _CLAIM, {"destination": destination, "now": now, "until": now + CLAIM}
    ).fetchone()
    return [News(*row) for row in rows] if claimed else []


def record_told(
    connection: psycopg.Connection, destination: str, news: Sequence[News], now: datetime
) -> None:
    """The destination has taken this news at `now` (UTC)."""
    lasting = [each.condition for each in news if each.over_at is None]
    over = [each.condition for each in news if each.over_at is not None]
    connection.execute(_TOLD, {"destination": destination, "conditions": lasting, "now": now})
    connection.execute(
        "DELETE FROM alert_told WHERE destination = %s AND condition = ANY(%s)", (destination, over)
    )
    connection.execute(
        "UPDATE alert_destination SET claimed_until = NULL, failures = 0, retry_at = NULL,"
        " last_failure = NULL WHERE destination = %s",
        (destination,),
    )


def record_failure(connection: psycopg.Connection, destination: str, why: str, now: datetime) -> None:
    """The destination took nothing; it is tried again after 1, 2, 4, 8 and then each 15 minutes."""
    connection.execute(
        _FAILED,
        {
            "destination": destination,
            "why": why,
            "now": now,
            "first": FIRST_RETRY,
            "longest": LONGEST_RETRY,
        },
    )


def waiting(connection: psycopg.Connection, now: datetime) -> list[tuple[str, str]]:
    """The destinations that failed and wait to be tried again, each with why it failed."""
    return connection.execute(
        "SELECT destination, last_failure FROM alert_destination WHERE retry_at > %s ORDER BY 1", (now,)
    ).fetchall()
