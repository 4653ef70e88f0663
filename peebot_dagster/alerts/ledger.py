"""What has been told whom, in the store. No clock."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

import psycopg

from peebot_dagster.alerts.conditions import Judgement
from peebot_dagster.alerts.messages import News
from peebot_dagster.posts.visit_history import VISIT_TYPES

REPEATED_AFTER = timedelta(days=1)
CLAIM = timedelta(minutes=2)
"""Longer than a sensor's tick may take."""
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
_NEWS = """
SELECT c.condition, c.title, c.advice, c.ending, c.began_at, c.over_at, t.told_at IS NOT NULL
FROM alert_condition c LEFT JOIN alert_told t ON t.condition = c.condition AND t.destination = %(destination)s
WHERE CASE WHEN c.over_at IS NULL
    THEN c.due_at <= %(now)s AND coalesce(t.told_at <= %(now)s - %(repeated_after)s, true)
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
    """Note what stands and what is over at `now` (UTC), and forget what nobody needs to be told any more."""
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
    there = [*(condition.key for condition in judgement.standing), *judgement.unknown]
    connection.execute(
        "UPDATE alert_condition SET over_at = %s WHERE over_at IS NULL AND NOT condition = ANY(%s)",
        (now, there),
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


def claim(connection: psycopg.Connection, destination: str, now: datetime) -> list[News]:
    """What to tell this destination at `now` (UTC), which nobody else tells it meanwhile; or nothing.

    Nothing also while another one sends to it, or it is not yet time to try again after a failure.
    """
    rows = connection.execute(
        _NEWS, {"destination": destination, "now": now, "repeated_after": REPEATED_AFTER}
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
