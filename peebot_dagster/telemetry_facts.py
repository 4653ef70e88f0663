"""How telemetry came in over a day, for pictures and tables. No Dagster, no clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

import psycopg
from psycopg.rows import class_row


@dataclass(frozen=True)
class Activity:
    """Ten minutes from `at` (UTC) on: readings a second, and how many channels were known and live."""

    at: datetime
    readings_per_second: float
    channels: float


@dataclass(frozen=True)
class Delay:
    """Ten minutes from `at` (UTC) on: median and worst time from the station's tick to its reception (s)."""

    at: datetime
    median_s: float
    worst_s: float


@dataclass(frozen=True)
class SubsystemCount:
    """A subsystem in an hour: its channels, those of them that sent something, and how many readings."""

    subsystem: str
    channels: int
    heard: int
    readings: int


def activity(connection: psycopg.Connection, start: datetime, end: datetime) -> list[Activity]:
    """The telemetry of [start, end) (UTC) in steps of ten minutes, oldest first, without empty ones."""
    with connection.cursor(row_factory=class_row(Activity)) as cursor:
        return cursor.execute(
            """
            SELECT date_bin('10 minutes', minute, 'epoch') AS at,
                sum(readings) / 600.0::float8 AS readings_per_second,
                count(*) FILTER (WHERE live_seconds > 0) / 10.0::float8 AS channels
            FROM telemetry_minute WHERE minute >= %s AND minute < %s GROUP BY 1 ORDER BY 1
            """,
            (start, end),
        ).fetchall()


def delays(connection: psycopg.Connection, start: datetime, end: datetime) -> list[Delay]:
    """How late the station's clock was received in [start, end) (UTC), in steps of ten minutes."""
    with connection.cursor(row_factory=class_row(Delay)) as cursor:
        return cursor.execute(
            """
            SELECT date_bin('10 minutes', ts, 'epoch') AS at,
                percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM received_at - ts)::float8)
                    AS median_s,
                max(extract(epoch FROM received_at - ts)::float8) AS worst_s
            FROM telemetry_reading
            WHERE channel_id = (SELECT channel_id FROM telemetry_channel WHERE item_id = 'TIME_000001')
                AND ts >= %s AND ts < %s AND NOT is_snapshot
            GROUP BY 1 ORDER BY 1
            """,
            (start, end),
        ).fetchall()


def subsystem_counts(connection: psycopg.Connection, start: datetime, end: datetime) -> list[SubsystemCount]:
    """Each subsystem's part in the telemetry of [start, end) (UTC), the busiest first."""
    with connection.cursor(row_factory=class_row(SubsystemCount)) as cursor:
        return cursor.execute(
            """
            SELECT subsystem, count(*) AS channels, count(*) FILTER (WHERE sent.readings > 0) AS heard,
                coalesce(sum(sent.readings), 0)::bigint AS readings
            FROM telemetry_channel LEFT JOIN (
                SELECT channel_id, sum(readings) AS readings FROM telemetry_minute
                WHERE minute >= %s AND minute < %s GROUP BY 1
            ) AS sent USING (channel_id)
            GROUP BY 1 ORDER BY 4 DESC, 1
            """,
            (start, end),
        ).fetchall()


@dataclass(frozen=True)
class Channel:
    """A channel of the catalogue as a picture names it; `states` are the names of a state's numbers."""

    item: str
    name: str
    unit: str = ""
    kind: str = ""
    states: Mapping[float, str] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The name with its unit, as in "Urine tank level, %"."""
        return f"{self.name}, {self.unit}" if self.unit else self.name


def channel(connection: psycopg.Connection, item: str) -> Channel:
    """The item's channel; one that is called as the item when the catalogue does not know it."""
    row = connection.execute(
        "SELECT name, unit, kind, states FROM telemetry_channel WHERE item_id = %s", (item,)
    ).fetchone()
    if row is None:
        return Channel(item, item)
    name, unit, kind, states = row
    return Channel(
        item, name, unit or "", kind or "", {float(number): text for number, text in (states or {}).items()}
    )
