"""What the store knows about a visit beyond its payload: pauses, numbers, streaks, records and totals."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import psycopg
from psycopg.rows import class_row

from peebot_dagster.posts.facts import Facts, crew_day_start, crew_week_start, facts_from_payload

VISIT_TYPES = ("toilet_visit", "toilet_visit_masked")
"""The events that count as visits when pauses, numbers and totals are told."""

MEMORY = timedelta(days=1)
"""How far back the pause between two visits is looked for."""

RECORD_DAYS = (30, 7)
"""The stretches for which a record may hold, the greatest first."""

WATCHED_SHARE = 0.9
"""Share of a stretch of time that the link must have been LIVE for "nobody went" to be known."""

_DAY = timedelta(days=1)
_HOUR = timedelta(hours=1)
_MINUTE = timedelta(minutes=1)


def event_facts(connection: psycopg.Connection, event_id: uuid.UUID) -> Facts:
    """What is known about a stored event when a post about it is written."""
    with connection.cursor(row_factory=class_row(_Event)) as cursor:
        event = cursor.execute(
            "SELECT event_type, started_at, ended_at, payload FROM detected_event WHERE event_id = %s",
            [event_id],
        ).fetchone()
        if event is None:
            raise LookupError(f"there is no event {event_id}")
        if event.event_type not in VISIT_TYPES:
            return event.facts
        since = event.started_at - max(RECORD_DAYS) * _DAY - MEMORY
        earlier = cursor.execute(
            """
            SELECT event_type, least(started_at, %(until)s) AS started_at,
                least(ended_at, %(until)s) AS ended_at, payload
            FROM detected_event
            WHERE event_type = ANY(%(visit_types)s) AND state <> 'retracted' AND event_id <> %(event_id)s
                AND started_at BETWEEN %(since)s AND %(until)s
            ORDER BY started_at DESC
            """,
            {
                "event_id": event_id,
                "visit_types": list(VISIT_TYPES),
                "since": since,
                "until": event.started_at,
            },
        ).fetchall()
    live = connection.execute(
        "SELECT started_at, ended_at FROM live_intervals(%s, %s)", [since, event.started_at]
    ).fetchall()
    return with_history(event.facts, [visit.facts for visit in earlier], live)


def with_history(visit: Facts, earlier: Sequence[Facts], live: Sequence[tuple[datetime, datetime]]) -> Facts:
    """A visit's facts and what they mean beside those of the earlier ones, newest first.

    `live` are the stretches (UTC) in which the link was LIVE. What was not watched is left unknown.
    """
    now = visit.started_at

    def watched(since: datetime) -> bool:
        seen = [min(end, now) - max(start, since) for start, end in live]
        total = sum((max(length, timedelta(0)) for length in seen), timedelta(0))
        return total >= WATCHED_SHARE * (now - since)

    def number_since(since: datetime) -> int | None:
        if not watched(since):
            return None
        return 1 + sum(other.started_at >= since for other in earlier)

    pause = _pause(visit, earlier)
    if pause is not None and not watched(now - pause):
        pause = None
    week = crew_week_start(now)
    row = _same_size(visit, earlier)
    return replace(
        visit,
        minutes_since_last=None if pause is None else pause / _MINUTE,
        visit_of_day=number_since(crew_day_start(now)),
        visits_in_hour=number_since(now - _HOUR),
        same_size_in_a_row=1 + len(row) if row and watched(row[-1].started_at) else None,
        biggest_in_days=next(
            (d for d in RECORD_DAYS if _is_biggest(visit, earlier, d) and watched(now - d * _DAY)), None
        ),
        longest_pause_in_days=next(
            (d for d in RECORD_DAYS if _is_longest(visit, pause, earlier, d) and watched(now - d * _DAY)),
            None,
        ),
        week_visits=number_since(week),
        week_ml=_total_ml([visit, *_since(earlier, week)]) if watched(week) else None,
    )


@dataclass(frozen=True)
class _Event:
    event_type: str
    started_at: datetime
    ended_at: datetime | None
    payload: Mapping[str, Any]

    @property
    def facts(self) -> Facts:
        return facts_from_payload(self.payload, self.started_at, self.ended_at, self.event_type)


def _end(visit: Facts) -> datetime:
    return visit.started_at + timedelta(seconds=visit.seconds or 0)


def _since(visits: Sequence[Facts], moment: datetime) -> list[Facts]:
    return [visit for visit in visits if visit.started_at >= moment]


def _pause(visit: Facts, earlier: Sequence[Facts]) -> timedelta | None:
    last = max(map(_end, _since(earlier, visit.started_at - MEMORY)), default=None)
    return None if last is None else max(timedelta(0), visit.started_at - last)


def _same_size(visit: Facts, earlier: Sequence[Facts]) -> list[Facts]:
    row: list[Facts] = []
    for other in earlier:
        if visit.percent is None or other.percent != visit.percent:
            break
        row.append(other)
    return row


def _is_biggest(visit: Facts, earlier: Sequence[Facts], days: int) -> bool:
    sizes = [other.percent for other in _since(earlier, visit.started_at - days * _DAY)]
    if visit.percent is None or not sizes:
        return False
    return all(size is not None and size < visit.percent for size in sizes)


def _is_longest(visit: Facts, pause: timedelta | None, earlier: Sequence[Facts], days: int) -> bool:
    recent = _since(earlier, visit.started_at - days * _DAY)
    if pause is None or len(recent) < 2:
        return False
    return all(later.started_at - _end(before) < pause for later, before in pairwise(recent))


def _total_ml(visits: Sequence[Facts]) -> float | None:
    amounts = [visit.ml for visit in visits if visit.ml is not None]
    return sum(amounts) if len(amounts) == len(visits) else None
