"""Reads of detected_event for people: counts and the latest events. No Dagster, no clock."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import class_row


@dataclass(frozen=True)
class StoredEvent:
    """A row of detected_event. Times are UTC; `confidence` is 0 to 1; payload keys carry their units."""

    event_type: str
    started_at: datetime
    ended_at: datetime | None
    state: str
    confidence: float
    payload: Mapping[str, Any]


def latest_events(
    connection: psycopg.Connection, detector: str, before: datetime, limit: int
) -> list[StoredEvent]:
    """The detector's latest events that start before `before` (UTC) and stand, newest first."""
    with connection.cursor(row_factory=class_row(StoredEvent)) as cursor:
        return cursor.execute(
            """
            SELECT event_type, started_at, ended_at, state, confidence, payload FROM detected_event
            WHERE detector = %s AND started_at < %s AND state <> 'retracted'
            ORDER BY started_at DESC LIMIT %s
            """,
            (detector, before, limit),
        ).fetchall()


def event_counts(
    connection: psycopg.Connection, detector: str, start: datetime, end: datetime
) -> dict[datetime, Counter[str]]:
    """For each hour (UTC) of [start, end) with events: how many of each type, and `retracted` ones."""
    counts: dict[datetime, Counter[str]] = {}
    for hour, event_type, number in connection.execute(
        """
        SELECT date_trunc('hour', started_at, 'UTC'),
               CASE state WHEN 'retracted' THEN 'retracted' ELSE event_type END, count(*)
        FROM detected_event WHERE detector = %s AND started_at >= %s AND started_at < %s GROUP BY 1, 2
        """,
        (detector, start, end),
    ):
        counts.setdefault(hour, Counter())[event_type] = number
    return counts
