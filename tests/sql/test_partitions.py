"""How chunks are made where TimescaleDB does not make them: beside readers and writers, who go on."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

DAY = datetime(2025, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def chunks(connection: psycopg.Connection) -> list[str]:
    rows = connection.execute("SELECT chunk FROM chunks_of('telemetry_reading') ORDER BY starts_at")
    return [row[0] for row in rows]


def store(connection: psycopg.Connection, channel: int, ts: datetime) -> None:
    connection.execute(
        "INSERT INTO telemetry_reading VALUES (%s, %s, %s, 1, '1', 24, false, 0)", (channel, ts, ts)
    )


def create_chunks(connection: psycopg.Connection, begin: datetime, end: datetime) -> None:
    connection.execute("SELECT create_telemetry_chunks(%s, %s)", (begin, end))


def test_chunks_cover_each_utc_day_of_the_range_once_in_any_time_zone(connection: psycopg.Connection) -> None:
    connection.execute("SET timezone = 'Pacific/Auckland'")
    for _ in range(2):
        create_chunks(connection, DAY + 23 * HOUR, DAY + 2 * 24 * HOUR)
    assert chunks(connection) == [f"telemetry_reading_2025030{day}" for day in (1, 2, 3)]
    store(connection, 1, DAY)
    store(connection, 1, DAY + 3 * 24 * HOUR - timedelta(microseconds=1))
    with pytest.raises(psycopg.errors.CheckViolation):
        store(connection, 1, DAY - timedelta(microseconds=1))


def test_a_chunk_is_made_while_others_read_and_write_and_they_go_on_meanwhile(database_url: str) -> None:
    with (
        psycopg.connect(database_url) as writer,
        psycopg.connect(database_url, options="-c lock_timeout=2s") as maker,
        psycopg.connect(database_url, options="-c lock_timeout=2s") as newcomer,
    ):
        create_chunks(writer, DAY, DAY)
        writer.commit()
        store(writer, 1, DAY)
        writer.execute("SELECT count(*) FROM telemetry_reading")
        create_chunks(maker, DAY + 24 * HOUR, DAY + 24 * HOUR)
        store(newcomer, 2, DAY)
        newcomer.execute("SELECT count(*) FROM telemetry_reading")
        store(writer, 3, DAY)


def test_many_writers_may_want_the_same_new_chunks_at_once(database_url: str) -> None:
    def write(channel: int) -> None:
        with psycopg.connect(database_url) as connection:
            create_chunks(connection, DAY, DAY + 5 * 24 * HOUR)
            store(connection, channel, DAY + 5 * 24 * HOUR)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(1, 25)))
    with psycopg.connect(database_url) as connection:
        assert len(chunks(connection)) == 6
        assert connection.execute("SELECT count(*) FROM telemetry_reading").fetchone() == (24,)


def test_weeks_of_minutes_begin_on_mondays(connection: psycopg.Connection) -> None:
    connection.execute("SELECT create_minute_chunks(%s, %s)", (DAY, DAY + 3 * 24 * HOUR))
    rows = connection.execute("SELECT starts_at, ends_at FROM chunks_of('telemetry_minute')").fetchall()
    mondays = [datetime(2025, 2, 24, tzinfo=UTC), datetime(2025, 3, 3, tzinfo=UTC)]
    assert rows == [(monday, monday + 7 * 24 * HOUR) for monday in mondays]
