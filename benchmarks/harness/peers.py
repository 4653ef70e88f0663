"""What the same rows cost otherwise: the usual ways to insert, and the fastest that there is.

All get ready rows in memory, so none pays for network, parsing and validation as the daemon does.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count

import psycopg

from benchmarks.harness.load import item_of, value_of
from benchmarks.harness.scratch_store import scratch_database
from ingest_daemon.reading import Reading
from ingest_daemon.writer import Writer
from iss_simulator.catalogue import packaged_channels

_BATCH = 10_000
_INSERT = """
INSERT INTO telemetry_reading
    (channel_id, ts, received_at, value, raw_value, status_class, is_snapshot, event_id)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
"""
_COPY = """
COPY telemetry_reading (channel_id, ts, received_at, value, raw_value, status_class, is_snapshot, event_id)
FROM STDIN (FORMAT BINARY)
"""
_TYPES = ("int2", "timestamptz", "timestamptz", "float8", "text", "int2", "bool", "int8")

Row = tuple[int, datetime, datetime, float | None, str, int | None, bool, int]
Store = Callable[[Sequence[Reading], Sequence[Row]], None]


@dataclass(frozen=True)
class Peer:
    """How many rows a second one way of storing commits, and its CPU microseconds a row on our side."""

    rate_per_s: float
    cpu_us_per_msg: float


def measure_peers(server_url: str, seconds: float) -> tuple[dict[str, Peer], dict[str, Peer]]:
    """(peers, limits), each measured for `seconds` in a fresh database."""
    peers = {"insert_per_message": _inserts, "executemany": _executemany}
    limits = {"copy_of_ready_rows": _copy, "writer_of_ready_readings": _writer}
    return (
        {name: _measure(server_url, seconds, store) for name, store in peers.items()},
        {name: _measure(server_url, seconds, store) for name, store in limits.items()},
    )


def _measure(server_url: str, seconds: float, prepare: Callable[[psycopg.Connection], Store]) -> Peer:
    with scratch_database(server_url) as url, psycopg.connect(url, autocommit=True) as connection:
        channel_ids: dict[str, int] = dict(
            connection.execute("SELECT item_id, channel_id FROM telemetry_channel").fetchall()
        )
        today = datetime.now(UTC)
        connection.execute("SELECT create_telemetry_chunks(%s, %s)", [today, today + timedelta(days=1)])
        store = prepare(connection)
        rows, wall_s, cpu_s = 0, 0.0, 0.0
        stream = _stream()
        # A hundredth of a batch first: how long a whole one takes differs by a factor of a hundred.
        size = _BATCH // 100
        while wall_s < seconds:
            readings = [next(stream) for _ in range(size)]
            ready = [_row(reading, channel_ids) for reading in readings]
            began, cpu_began = time.perf_counter(), time.process_time()
            store(readings, ready)
            took_s = time.perf_counter() - began
            cpu_s += time.process_time() - cpu_began
            wall_s += took_s
            rows += size
            size = max(1, min(_BATCH, int(size * min(10.0, 0.5 * seconds / took_s))))
    return Peer(rows / wall_s, cpu_s / rows * 1e6)


def _stream() -> Iterator[Reading]:
    items = tuple(channel.item for channel in packaged_channels())
    began = datetime.now(UTC)
    for number in count():
        ts, value = began + timedelta(milliseconds=number // 100), value_of(number)
        yield Reading(
            item=item_of(number, items), ts=ts, received_at=ts, value=float(value), raw_value=value,
            status_class=24, is_snapshot=False, event_id=number,
        )  # fmt: skip


def _row(reading: Reading, channel_ids: dict[str, int]) -> Row:
    return (
        channel_ids[reading.item], reading.ts, reading.received_at, reading.value, reading.raw_value,
        reading.status_class, reading.is_snapshot, reading.event_id,
    )  # fmt: skip


def _inserts(connection: psycopg.Connection) -> Store:
    def store(readings: Sequence[Reading], rows: Sequence[Row]) -> None:
        for row in rows:
            connection.execute(_INSERT, row)

    return store


def _executemany(connection: psycopg.Connection) -> Store:
    def store(readings: Sequence[Reading], rows: Sequence[Row]) -> None:
        with connection.transaction(), connection.cursor() as cursor:
            cursor.executemany(_INSERT, rows)

    return store


def _copy(connection: psycopg.Connection) -> Store:
    def store(readings: Sequence[Reading], rows: Sequence[Row]) -> None:
        with connection.transaction(), connection.cursor() as cursor, cursor.copy(_COPY) as copy:
            copy.set_types(_TYPES)
            for row in rows:
                copy.write_row(row)

    return store


def _writer(connection: psycopg.Connection) -> Store:
    writer = Writer(connection)

    def store(readings: Sequence[Reading], rows: Sequence[Row]) -> None:
        writer.store(readings, [])

    return store
