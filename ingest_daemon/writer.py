"""Stores readings: binary COPY into a staging table, then one merge that forgets what is stored already."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

import psycopg
from psycopg import errors
from psycopg.types.json import Jsonb

from ingest_daemon.reading import Reading, Rejection

_CREATE_STAGING = """
CREATE TEMPORARY TABLE IF NOT EXISTS reading_staging (
    channel_id smallint NOT NULL,
    ts timestamptz NOT NULL,
    received_at timestamptz NOT NULL,
    value double precision,
    raw_value text NOT NULL,
    status_class smallint,
    is_snapshot boolean NOT NULL,
    event_id bigint NOT NULL
) ON COMMIT DELETE ROWS
"""
_COPY_STAGING = """
COPY reading_staging (channel_id, ts, received_at, value, raw_value, status_class, is_snapshot, event_id)
FROM STDIN (FORMAT BINARY)
"""
_STAGING_TYPES = ("int2", "timestamptz", "timestamptz", "float8", "text", "int2", "bool", "int8")

# PostgreSQL refuses a NOTIFY with a payload of 8000 bytes or more, and with it the transaction.
_LONGEST_NOTE = 8000
# The two ORDER BY keep writers that store the same readings at the same time from deadlocking.
_MERGE = """
WITH inserted AS (
    INSERT INTO telemetry_reading
        (channel_id, ts, received_at, value, raw_value, status_class, is_snapshot, event_id)
    SELECT channel_id, ts, received_at, value, raw_value, status_class, is_snapshot, event_id
    FROM reading_staging
    ORDER BY channel_id, ts, event_id
    ON CONFLICT DO NOTHING
    RETURNING ts
), touched AS (
    SELECT date_trunc('hour', ts, 'UTC') AS hour, count(*) AS readings FROM inserted GROUP BY 1
), revised AS (
    INSERT INTO telemetry_revision AS r (hour, revision, readings)
    SELECT hour, readings, readings FROM touched ORDER BY hour
    ON CONFLICT (hour) DO UPDATE SET
        revision = r.revision + excluded.revision,
        readings = r.readings + excluded.readings,
        updated_at = clock_timestamp()
)
SELECT coalesce(sum(readings), 0)::bigint FROM touched
"""
# Not every INSERT … ON CONFLICT: that would use up an identity number for each channel that is known.
_REGISTER = """
INSERT INTO telemetry_channel (item_id, name, subsystem, kind, catalogued)
SELECT item, item, 'unknown', 'unknown', false
FROM unnest(%s::text[]) AS item
WHERE NOT EXISTS (SELECT FROM telemetry_channel WHERE item_id = item)
ORDER BY item
ON CONFLICT (item_id) DO NOTHING
"""
_CHANNEL_IDS = "SELECT item_id, channel_id FROM telemetry_channel WHERE item_id = ANY(%s)"
# The upper bound lies in the same day, whether the function takes it as inclusive or not.
_CREATE_CHUNKS = """
SELECT create_telemetry_chunks(day, day + interval '1 day' - interval '1 microsecond')
FROM unnest(%s::timestamptz[]) AS day
"""
# When a connection breaks in COMMIT, whoever stores the same again waits here for the end of that attempt.
_ONE_REJECTER = "SELECT pg_advisory_xact_lock(hashtextextended('rejected_reading', 0))"
_REJECT = """
INSERT INTO rejected_reading (item_id, fields, reason, received_at)
SELECT item_id, fields, reason, received_at
FROM (
    SELECT * FROM unnest(
        %(items)s::text[], %(fields)s::jsonb[], %(reasons)s::text[], %(received)s::timestamptz[]
    )
    EXCEPT ALL
    SELECT item_id, fields, reason, received_at FROM rejected_reading
    WHERE received_at = ANY(%(received)s::timestamptz[])
) AS new (item_id, fields, reason, received_at)
ORDER BY received_at
"""


@dataclass(frozen=True)
class StoredCounts:
    """What became of a batch, in rows."""

    stored: int
    duplicates: int
    rejected: int

    def __add__(self, other: StoredCounts) -> StoredCounts:
        return StoredCounts(
            self.stored + other.stored, self.duplicates + other.duplicates, self.rejected + other.rejected
        )


class Writer:
    """Stores batches over one connection; remembers channel ids and chunks that it has seen committed."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection
        self._channel_ids: dict[str, int] = {}
        self._days: set[date] = set()

    def store(self, readings: Sequence[Reading], rejections: Sequence[Rejection]) -> StoredCounts:
        """Store a batch of any size in one transaction; what is stored already is only counted.

        A rejection counts as stored when an equal one is: what happens twice must differ in `received_at`.
        """
        self._create_chunks(readings)
        try:
            return self._store(readings, rejections)
        except errors.CheckViolation:
            # Retention has dropped a chunk that was remembered.
            self._days.clear()
            self._create_chunks(readings)
            return self._store(readings, rejections)

    def _store(self, readings: Sequence[Reading], rejections: Sequence[Rejection]) -> StoredCounts:
        stored = rejected = 0
        channel_ids = self._channel_ids
        with self._connection.transaction(), self._connection.cursor() as cursor:
            if readings:
                channel_ids = self._resolve_channels(cursor, {reading.item for reading in readings})
                stored = self._merge(cursor, readings, channel_ids)
            if rejections:
                rejected = _insert_rejections(cursor, rejections)
            if stored:
                cursor.execute("SELECT pg_notify('telemetry_stored', %s)", [_told(readings, channel_ids)])
        self._channel_ids = channel_ids
        return StoredCounts(stored, len(readings) - stored, rejected)

    def _create_chunks(self, readings: Sequence[Reading]) -> None:
        # In a transaction of its own: the function wants to be called before any other lock is taken.
        # Day by day, because a snapshot may be a year older than its neighbour.
        new = {reading.ts.astimezone(UTC).date() for reading in readings} - self._days
        if not new:
            return
        days = [datetime(day.year, day.month, day.day, tzinfo=UTC) for day in sorted(new)]
        with self._connection.transaction():
            self._connection.execute(_CREATE_CHUNKS, [days])
        self._days |= new

    def _resolve_channels(self, cursor: psycopg.Cursor, items: set[str]) -> dict[str, int]:
        if items <= self._channel_ids.keys():
            return self._channel_ids
        unknown = sorted(items - self._channel_ids.keys())
        cursor.execute(_REGISTER, [unknown])
        cursor.execute(_CHANNEL_IDS, [unknown])
        return self._channel_ids | dict(cursor.fetchall())

    def _merge(self, cursor: psycopg.Cursor, readings: Iterable[Reading], channel_ids: dict[str, int]) -> int:
        cursor.execute(_CREATE_STAGING)
        # An earlier batch in the same transaction of the caller need not be merged again.
        cursor.execute("DELETE FROM reading_staging")
        with cursor.copy(_COPY_STAGING) as copy:
            copy.set_types(_STAGING_TYPES)
            for reading in readings:
                copy.write_row(
                    (
                        channel_ids[reading.item],
                        reading.ts,
                        reading.received_at,
                        reading.value,
                        reading.raw_value,
                        reading.status_class,
                        reading.is_snapshot,
                        reading.event_id,
                    )
                )
        row = cursor.execute(_MERGE).fetchone()
        assert row is not None  # noqa: S101  an aggregate without GROUP BY has one row
        return int(row[0])


def _told(readings: Iterable[Reading], channel_ids: dict[str, int]) -> str:
    """The ids of the channels with something new, as in `7,12`; nothing when they are too many to tell."""
    told = ",".join(str(channel) for channel in sorted({channel_ids[reading.item] for reading in readings}))
    return told if len(told) < _LONGEST_NOTE else ""


def _insert_rejections(cursor: psycopg.Cursor, rejections: Sequence[Rejection]) -> int:
    cursor.execute(_ONE_REJECTER)
    cursor.execute(
        _REJECT,
        {
            "items": [rejection.item for rejection in rejections],
            "fields": [Jsonb(dict(rejection.fields)) for rejection in rejections],
            "reasons": [rejection.reason for rejection in rejections],
            "received": [rejection.received_at for rejection in rejections],
        },
    )
    return cursor.rowcount
