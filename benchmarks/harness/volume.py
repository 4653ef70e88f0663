"""Days of telemetry made inside the database: the station's rate, on all channels, in order of time."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import psycopg

RATE_PER_S = 70
BUSY_CHANNELS = 30
"""So many channels have an update each second; the others share the rest of the rate."""
_PIECE = timedelta(hours=6)
_CREATE_CHUNKS = "SELECT create_telemetry_chunks(%s, %s)"
# hashint8 stands for chance, and for the hash of an update that event_id is.
_INSERT = """
INSERT INTO telemetry_reading
    (channel_id, ts, received_at, value, raw_value, status_class, is_snapshot, event_id)
SELECT channel, ts, ts + (20 + (noise & 63)) * interval '1 ms', value, value::text, 24, false, event_id
FROM (
    SELECT channel, event_id, noise,
        %(start)s::timestamptz + (k * 1000 / %(rate)s) * interval '1 ms' AS ts,
        floor(50000 + 40000 * sin((k / %(rate)s + 97 * channel) / 885.0) + 4 * (noise & 1023)) / 1000 AS value
    FROM (
        SELECT k, hashint8(k) AS noise, hashint8extended(k, 1) AS event_id,
            %(channels)s::smallint[] AS channels, k %% %(rate)s AS slot
        FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS k
    ) numbered, LATERAL (
        SELECT channels[1 + CASE
            WHEN slot < %(busy)s THEN slot
            ELSE %(busy)s + (k / %(rate)s * (%(rate)s - %(busy)s) + slot - %(busy)s)
                %% (cardinality(channels) - %(busy)s)
        END] AS channel
    ) chosen
) reading
UNION ALL
SELECT channel_id, ts + shift, received_at + shift, value, raw_value, status_class, is_snapshot, event_id
FROM unnest(%(shifts)s::interval[]) AS shift JOIN simulated_reading
    ON ts >= %(begin)s::timestamptz - shift AND ts < %(end)s::timestamptz - shift
ORDER BY ts
"""
_NOTHING_SIMULATED = "CREATE TEMPORARY TABLE simulated_reading (LIKE telemetry_reading)"


@dataclass(frozen=True)
class Volume:
    """What was built: `rows` in [`start`, `end`) (UTC) of `channels`, of which the first are busy."""

    start: datetime
    end: datetime
    rows: int
    channels: tuple[int, ...]
    seconds: float


@dataclass(frozen=True)
class Simulated:
    """The table simulated_reading holds readings of these items for the first `period`; they are repeated."""

    items: tuple[str, ...]
    period: timedelta


def midnight() -> datetime:
    """The begin of today (UTC), at which each volume ends."""
    return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def build(
    connection: psycopg.Connection,
    days: float,
    limit_bytes: float,
    tell: Callable[[str], None],
    rate_per_s: int = RATE_PER_S,
    simulated: Simulated | None = None,
) -> Volume:
    """Insert days of readings that end today, oldest first, until the database is as big as `limit_bytes`.

    They are of all catalogued channels but the simulated ones, whose readings are mixed in.
    """
    if simulated is None:
        connection.execute(_NOTHING_SIMULATED)
        simulated = Simulated((), timedelta(days=days))
    channels = [
        row[0]
        for row in connection.execute(
            "SELECT channel_id FROM telemetry_channel WHERE item_id <> ALL (%s) ORDER BY channel_id",
            [list(simulated.items)],
        ).fetchall()
    ]
    busy = rate_per_s * BUSY_CHANNELS // RATE_PER_S
    today = midnight()
    start = end = today - timedelta(days=days)
    began = time.monotonic()
    rows = 0
    while end < today and _database_bytes(connection) < limit_bytes:
        piece_end = min(end + _PIECE, today)
        last = int((piece_end - start).total_seconds() * rate_per_s)
        connection.execute(_CREATE_CHUNKS, [end, piece_end])
        connection.execute(
            _INSERT,
            {
                "start": start, "rate": rate_per_s, "busy": busy, "channels": channels,
                "first": rows, "last": last - 1, "begin": end, "end": piece_end,
                "shifts": _shifts(end - start, piece_end - start, simulated.period),
            },
        )  # fmt: skip
        rows, end = last, piece_end
        tell(f"{rows:,} rows, {_database_bytes(connection) / 1e9:.1f} GB, {time.monotonic() - began:.0f} s")
    return Volume(start, end, rows, tuple(channels), time.monotonic() - began)


def _shifts(begin: timedelta, end: timedelta, period: timedelta) -> list[timedelta]:
    """By how much what is repeated each `period` has to be moved to lie in [begin, end)."""
    return [number * period for number in range(begin // period, -(-end // period))]


def _database_bytes(connection: psycopg.Connection) -> float:
    row = connection.execute("SELECT pg_database_size(current_database())").fetchone()
    assert row is not None  # noqa: S101  a SELECT without FROM has one row
    return float(row[0])
