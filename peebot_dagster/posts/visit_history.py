"""What the store knows about a visit beyond its payload: the pause before it, its number in the day."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import psycopg
from psycopg.rows import class_row, scalar_row

from peebot_dagster.posts.facts import Facts, crew_day_start, facts_from_payload

VISIT_TYPES = ("toilet_visit", "toilet_visit_masked")
"""The events that count as visits when the pause and the visits of the day are told."""

MEMORY = timedelta(days=1)
"""How far back the pause between two visits is looked for."""

WATCHED_SHARE = 0.9
"""Share of a stretch of time that the link must have been LIVE for "nobody went" to be known."""


def event_facts(connection: psycopg.Connection, event_id: uuid.UUID) -> Facts:
    """What is known about a stored event when a post about it is written."""
    with connection.cursor(row_factory=class_row(_Visit)) as cursor:
        visit = cursor.execute(
            "SELECT event_id, started_at, ended_at, payload FROM detected_event WHERE event_id = %s",
            [event_id],
        ).fetchone()
    if visit is None:
        raise LookupError(f"there is no event {event_id}")
    return facts_from_payload(
        visit.payload,
        visit.started_at,
        visit.ended_at,
        minutes_since_last=_minutes_since_last(connection, visit),
        visit_of_day=_visit_of_day(connection, visit),
    )


@dataclass(frozen=True)
class _Visit:
    event_id: uuid.UUID
    started_at: datetime
    ended_at: datetime | None
    payload: dict[str, Any]


def _minutes_since_last(connection: psycopg.Connection, visit: _Visit) -> float | None:
    with connection.cursor(row_factory=scalar_row) as cursor:
        last: datetime | None = cursor.execute(
            """
            SELECT max(least(coalesce(ended_at, started_at), %(started_at)s))
            FROM detected_event
            WHERE event_type = ANY(%(visit_types)s) AND state <> 'retracted' AND event_id <> %(event_id)s
                AND started_at <= %(started_at)s AND started_at > %(started_at)s - %(memory)s
            """,
            {
                "event_id": visit.event_id,
                "started_at": visit.started_at,
                "visit_types": list(VISIT_TYPES),
                "memory": MEMORY,
            },
        ).fetchone()
    if last is None or not _was_watched(connection, last, visit.started_at):
        return None
    return (visit.started_at - last) / timedelta(minutes=1)


def _visit_of_day(connection: psycopg.Connection, visit: _Visit) -> int | None:
    day_start = crew_day_start(visit.started_at)
    if not _was_watched(connection, day_start, visit.started_at):
        return None
    with connection.cursor(row_factory=scalar_row) as cursor:
        earlier: int | None = cursor.execute(
            """
            SELECT count(*)
            FROM detected_event
            WHERE event_type = ANY(%(visit_types)s) AND state <> 'retracted' AND event_id <> %(event_id)s
                AND started_at >= %(day_start)s AND started_at <= %(started_at)s
            """,
            {
                "event_id": visit.event_id,
                "started_at": visit.started_at,
                "visit_types": list(VISIT_TYPES),
                "day_start": day_start,
            },
        ).fetchone()
    return (earlier or 0) + 1


def _was_watched(connection: psycopg.Connection, start: datetime, end: datetime) -> bool:
    with connection.cursor(row_factory=scalar_row) as cursor:
        live: timedelta | None = cursor.execute(
            "SELECT sum(ended_at - started_at) FROM live_intervals(%s, %s)", [start, end]
        ).fetchone()
    return (live or timedelta(0)) >= WATCHED_SHARE * (end - start)
