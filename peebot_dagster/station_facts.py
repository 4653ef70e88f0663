"""What the report of the station tells: today and this week, read from the store. No Dagster, no clock."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import psycopg
from psycopg.rows import class_row

from peebot_dagster.detectors.backlash import Backlash
from peebot_dagster.posts.visit_history import VISIT_TYPES

DAY = timedelta(days=1)


@dataclass(frozen=True)
class MinuteValue:
    """The last value of a channel in the minute `at` (UTC)."""

    at: datetime
    value: float


@dataclass(frozen=True)
class Span:
    """A stretch of time (UTC, end exclusive) of some kind: LOS, DOWN, processing."""

    kind: str
    start: datetime
    end: datetime


@dataclass(frozen=True)
class EventMark:
    """An event to mark in a picture: when it began (UTC), its last evidence, and the level after it (%)."""

    event_type: str
    at: datetime
    until: datetime | None
    level: float | None
    amount_ml: float | None
    amount_percent: float | None


@dataclass(frozen=True)
class WaterDay:
    """A day (UTC) of the tank: what came in and went out, in % of the tank; the visits also in mL."""

    day: date
    visits_ml: float
    visits_percent: float
    transfers_percent: float
    others_percent: float
    falls_percent: float


@dataclass(frozen=True)
class ReportedEvent:
    """An event of any detector for the table. Times are UTC."""

    detector: str
    event_type: str
    started_at: datetime
    ended_at: datetime | None
    state: str
    confidence: float


@dataclass(frozen=True)
class ReportedPost:
    """A row of the ledger for the table; `at` is when it last changed (UTC)."""

    at: datetime
    platform: str
    state: str
    text: str | None
    reason: str | None


def midnight(moment: datetime) -> datetime:
    """The begin of the crew's day, which goes by UTC."""
    return moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def minute_values(
    connection: psycopg.Connection, item: str, start: datetime, end: datetime
) -> list[MinuteValue]:
    """The item's last value in each minute of [start, end) (UTC) in which it was known and live."""
    with connection.cursor(row_factory=class_row(MinuteValue)) as cursor:
        return cursor.execute(
            """
            SELECT minute AS at, last_value AS value FROM telemetry_minute
            WHERE channel_id = (SELECT channel_id FROM telemetry_channel WHERE item_id = %s)
                AND minute >= %s AND minute < %s AND last_value IS NOT NULL
            ORDER BY minute
            """,
            (item, start, end),
        ).fetchall()


def minute_counts(
    connection: psycopg.Connection, item: str, start: datetime, end: datetime
) -> list[MinuteValue]:
    """How many readings the item had in each minute of [start, end) (UTC); none where it had none."""
    with connection.cursor(row_factory=class_row(MinuteValue)) as cursor:
        return cursor.execute(
            """
            SELECT minute AS at, readings::float8 AS value FROM telemetry_minute
            WHERE channel_id = (SELECT channel_id FROM telemetry_channel WHERE item_id = %s)
                AND minute >= %s AND minute < %s AND readings > 0
            ORDER BY minute
            """,
            (item, start, end),
        ).fetchall()


def spans_where(values: Sequence[MinuteValue], wanted: float, kind: str) -> list[Span]:
    """The stretches of minutes in which the value was the wanted one."""
    minute = timedelta(minutes=1)
    spans: list[Span] = []
    for each in values:
        if each.value != wanted:
            continue
        if spans and spans[-1].end == each.at:
            spans[-1] = Span(kind, spans[-1].start, each.at + minute)
        else:
            spans.append(Span(kind, each.at, each.at + minute))
    return spans


def link_spans(connection: psycopg.Connection, start: datetime, end: datetime) -> list[Span]:
    """LIVE, LOS and DOWN in [start, end) (UTC)."""
    with connection.cursor(row_factory=class_row(Span)) as cursor:
        return cursor.execute(
            'SELECT state AS kind, started_at AS start, ended_at AS "end" FROM link(%s, %s)', (start, end)
        ).fetchall()


def event_marks(
    connection: psycopg.Connection, detector: str, start: datetime, end: datetime
) -> list[EventMark]:
    """The detector's events that touch [start, end) (UTC) and stand, oldest first."""
    with connection.cursor(row_factory=class_row(EventMark)) as cursor:
        return cursor.execute(
            """
            SELECT event_type, started_at AS at, ended_at AS until,
                (payload->>'level_after_percent')::float8 AS level,
                (payload->>'amount_ml')::float8 AS amount_ml,
                (payload->>'amount_percent')::float8 AS amount_percent
            FROM detected_event
            WHERE detector = %(detector)s AND started_at < %(end)s AND state <> 'retracted'
                AND (started_at >= %(start)s OR ended_at >= %(start)s OR state = 'open')
            ORDER BY started_at
            """,
            {"detector": detector, "start": start, "end": end},
        ).fetchall()


def falls_by_day(
    connection: psycopg.Connection, level_item: str, start: datetime, end: datetime
) -> dict[date, float]:
    """By how much (%) the level fell on each day (UTC) of [start, end), without dither."""
    rows = connection.execute(
        """
        SELECT ts, value FROM telemetry_window(
            ARRAY(SELECT channel_id FROM telemetry_channel WHERE item_id = %s), %s, %s
        )
        WHERE coalesce(status_class, 24) = 24 AND value BETWEEN 0 AND 100
        """,
        (level_item, start, end),
    ).fetchall()
    falls: dict[date, float] = defaultdict(float)
    if rows:
        backlash = Backlash(rows[0][1])
        for ts, value in rows[1:]:
            falls[ts.astimezone(UTC).date()] += max(-backlash.move(value), 0.0)
    return dict(falls)


def water_days(
    events: Sequence[EventMark], falls: dict[date, float], first: date, days: int
) -> list[WaterDay]:
    """The tank day by day from `first` on."""
    result = []
    for number in range(days):
        day = first + number * DAY
        own = [event for event in events if event.at.astimezone(UTC).date() == day]
        visits = [event for event in own if event.event_type in VISIT_TYPES]
        transfers = [event for event in own if event.event_type == "tank_transfer"]
        others = [event for event in own if event not in visits and event not in transfers]
        result.append(
            WaterDay(
                day,
                sum(event.amount_ml or 0.0 for event in visits),
                sum(event.amount_percent or 0.0 for event in visits),
                sum(event.amount_percent or 0.0 for event in transfers),
                sum(event.amount_percent or 0.0 for event in others),
                falls.get(day, 0.0),
            )
        )
    return result


def visits_by_hour(visits: Sequence[EventMark], today: datetime) -> tuple[list[int], list[float]]:
    """Visits by hour of the day (UTC): those since midnight `today`, and the mean of 7 days before."""
    now, before = [0] * 24, [0.0] * 24
    for visit in visits:
        hour = visit.at.astimezone(UTC).hour
        if visit.at >= today:
            now[hour] += 1
        elif visit.at >= today - 7 * DAY:
            before[hour] += 1 / 7
    return now, before


def longest_pause(visits: Sequence[EventMark], since: datetime) -> timedelta | None:
    """The longest time between two visits after `since` (UTC); None with fewer than two."""
    times = [visit.at for visit in visits if visit.at >= since]
    return max((later - earlier for earlier, later in pairwise(times)), default=None)


def counts_since(connection: psycopg.Connection, since: datetime) -> dict[str, int]:
    """How many events of each type started since then (UTC) and stand."""
    return dict(
        connection.execute(
            "SELECT event_type, count(*) FROM detected_event"
            " WHERE started_at >= %s AND state <> 'retracted' GROUP BY 1",
            (since,),
        ).fetchall()
    )


def readings_of_hour(connection: psycopg.Connection, hour: datetime) -> int:
    """Readings with an event time in the hour (UTC)."""
    row = connection.execute("SELECT readings FROM telemetry_revision WHERE hour = %s", (hour,)).fetchone()
    return 0 if row is None else int(row[0])


def last_events(connection: psycopg.Connection, since: datetime, of_each: int) -> list[ReportedEvent]:
    """The latest events of each detector since then (UTC), newest first: the frequent ones drown no other."""
    with connection.cursor(row_factory=class_row(ReportedEvent)) as cursor:
        return cursor.execute(
            """
            SELECT detector, event_type, started_at, ended_at, state, confidence FROM (
                SELECT *, row_number() OVER (PARTITION BY detector ORDER BY started_at DESC) AS place
                FROM detected_event WHERE started_at >= %s AND state <> 'retracted'
            ) AS placed
            WHERE place <= %s ORDER BY started_at DESC
            """,
            (since, of_each),
        ).fetchall()


def last_posts(connection: psycopg.Connection, of_each: int) -> list[ReportedPost]:
    """The last posts and the last events that were skipped, newest first: a backfill's skips hide no post."""
    with connection.cursor(row_factory=class_row(ReportedPost)) as cursor:
        return cursor.execute(
            """
            SELECT updated_at AS at, platform, state, text, reason FROM (
                SELECT *, row_number() OVER (PARTITION BY state = 'skipped' ORDER BY updated_at DESC) AS place
                FROM post
            ) AS placed
            WHERE place <= %s ORDER BY updated_at DESC
            """,
            (of_each,),
        ).fetchall()
