"""Chunks, windows and live time: what the SQL functions promise to the rooms above them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

DAY = datetime(2025, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def chunks(connection: psycopg.Connection) -> list[str]:
    rows = connection.execute(
        "SELECT inhrelid::regclass::text FROM pg_inherits"
        " WHERE inhparent = 'telemetry_reading'::regclass ORDER BY 1"
    )
    return [row[0] for row in rows]


def store(
    connection: psycopg.Connection, channel: int, ts: datetime, value: float, event_id: int = 0
) -> None:
    connection.execute(
        "INSERT INTO telemetry_reading VALUES (%s, %s, %s, %s, %s, 24, false, %s)",
        (channel, ts, ts, value, str(value), event_id),
    )


def create_chunks(connection: psycopg.Connection, begin: datetime, end: datetime) -> None:
    connection.execute("SELECT create_telemetry_chunks(%s, %s)", (begin, end))


def test_chunks_cover_each_utc_day_of_the_range_once_in_any_time_zone(connection: psycopg.Connection) -> None:
    connection.execute("SET timezone = 'Pacific/Auckland'")
    for _ in range(2):
        create_chunks(connection, DAY + 23 * HOUR, DAY + 2 * 24 * HOUR)
    assert chunks(connection) == [f"telemetry_reading_2025030{day}" for day in (1, 2, 3)]
    store(connection, 1, DAY, 1)
    store(connection, 1, DAY + 3 * 24 * HOUR - timedelta(microseconds=1), 1)
    with pytest.raises(psycopg.errors.CheckViolation):
        store(connection, 1, DAY - timedelta(microseconds=1), 1)


def test_a_chunk_is_made_while_others_read_and_write_and_they_go_on_meanwhile(database_url: str) -> None:
    with (
        psycopg.connect(database_url) as writer,
        psycopg.connect(database_url, options="-c lock_timeout=2s") as maker,
        psycopg.connect(database_url, options="-c lock_timeout=2s") as newcomer,
    ):
        create_chunks(writer, DAY, DAY)
        writer.commit()
        store(writer, 1, DAY, 1)
        writer.execute("SELECT count(*) FROM telemetry_reading")
        create_chunks(maker, DAY + 24 * HOUR, DAY + 24 * HOUR)
        store(newcomer, 2, DAY, 2)
        newcomer.execute("SELECT count(*) FROM telemetry_reading")
        store(writer, 3, DAY, 3)


def test_many_writers_may_want_the_same_new_chunks_at_once(database_url: str) -> None:
    def write(channel: int) -> None:
        with psycopg.connect(database_url) as connection:
            create_chunks(connection, DAY, DAY + 5 * 24 * HOUR)
            store(connection, channel, DAY + 5 * 24 * HOUR, 1)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(1, 25)))
    with psycopg.connect(database_url) as connection:
        assert len(chunks(connection)) == 6
        assert connection.execute("SELECT count(*) FROM telemetry_reading").fetchone() == (24,)


def test_the_same_update_is_stored_once_also_in_a_late_chunk(connection: psycopg.Connection) -> None:
    create_chunks(connection, DAY, DAY)
    create_chunks(connection, DAY - 400 * 24 * HOUR, DAY - 400 * 24 * HOUR)
    for ts in (DAY, DAY - 400 * 24 * HOUR):
        store(connection, 1, ts, 1, event_id=7)
        store(connection, 1, ts, 2, event_id=8)
        with pytest.raises(psycopg.errors.UniqueViolation), connection.transaction():
            store(connection, 1, ts, 1, event_id=7)


def test_only_chunks_that_are_old_to_their_last_reading_are_dropped(connection: psycopg.Connection) -> None:
    connection.execute("SET timezone = 'Pacific/Auckland'")
    create_chunks(connection, DAY, DAY + 3 * 24 * HOUR)
    as_of = DAY + 32 * 24 * HOUR - timedelta(seconds=1)
    drop = "SELECT drop_old_telemetry('30 days', %s)"
    assert connection.execute(drop, (as_of,)).fetchone() == (1,)
    assert connection.execute(drop, (as_of,)).fetchone() == (0,)
    assert chunks(connection) == [f"telemetry_reading_2025030{day}" for day in (2, 3, 4)]
    assert connection.execute(drop, (as_of + timedelta(seconds=1),)).fetchone() == (1,)


def test_dropping_gives_up_rather_than_hold_everyone_up(database_url: str) -> None:
    with psycopg.connect(database_url) as reader, psycopg.connect(database_url) as dropper:
        create_chunks(reader, DAY, DAY)
        reader.commit()
        reader.execute("SELECT count(*) FROM telemetry_reading")
        dropper.execute("ALTER FUNCTION drop_old_telemetry SET lock_timeout = '100ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            dropper.execute("SELECT drop_old_telemetry('1 day', %s)", (DAY + 9 * 24 * HOUR,))


def test_a_window_has_the_reading_before_it_and_ends_before_its_end(connection: psycopg.Connection) -> None:
    create_chunks(connection, DAY - 20 * 24 * HOUR, DAY)
    for channel, ts, value in (
        (1, DAY - 20 * 24 * HOUR, 1.0),
        (1, DAY - 10 * 24 * HOUR, 2.0),
        (2, DAY, 3.0),
        (1, DAY + HOUR, 4.0),
        (3, DAY + HOUR, 5.0),
        (2, DAY + 2 * HOUR, 6.0),
    ):
        store(connection, channel, ts, value)
    rows = connection.execute(
        "SELECT channel_id, item_id, ts, value, status_class FROM telemetry_window('{1,2,4}', %s, %s)",
        (DAY, DAY + 2 * HOUR),
    ).fetchall()
    assert [(row[0], row[2], row[3]) for row in rows] == [
        (1, DAY - 10 * 24 * HOUR, 2.0),
        (2, DAY, 3.0),
        (1, DAY + HOUR, 4.0),
    ]
    items = connection.execute("SELECT channel_id, item_id FROM telemetry_channel").fetchall()
    item_of: dict[int, str] = dict(items)
    assert all(row[1] == item_of[row[0]] and row[4] == 24 for row in rows)


def test_two_values_with_one_stamp_come_in_the_order_of_their_arrival(connection: psycopg.Connection) -> None:
    create_chunks(connection, DAY, DAY)
    for event_id, arrival in ((1, 3), (2, 1), (3, 2)):
        connection.execute(
            "INSERT INTO telemetry_reading VALUES (1, %s, %s, %s, '', 24, false, %s)",
            (DAY, DAY + arrival * HOUR, arrival, event_id),
        )
    query = "SELECT value FROM telemetry_window('{1}', %s, %s)"
    assert connection.execute(query, (DAY, DAY + HOUR)).fetchall() == [(1.0,), (2.0,), (3.0,)]
    assert connection.execute(query, (DAY + HOUR, DAY + 2 * HOUR)).fetchall() == [(3.0,)]


def test_live_time_is_merged_over_sources_clipped_and_counts_as_far_as_it_was_seen(
    connection: psycopg.Connection,
) -> None:
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO link_interval (source, state, started_at, last_seen_at, ended_at)"
            " VALUES (%s, %s, %s, %s, %s)",
            [
                ("isslive", "LIVE", DAY, DAY + 2 * HOUR, DAY + 2 * HOUR),
                ("isslive", "LOS", DAY + 2 * HOUR, DAY + 4 * HOUR, DAY + 4 * HOUR),
                ("isslive", "LIVE", DAY + 4 * HOUR, DAY + 5 * HOUR, None),
                ("simulator", "LIVE", DAY + HOUR, DAY + 3 * HOUR, DAY + 3 * HOUR),
                ("replay", "LIVE", DAY + 3 * HOUR, DAY + 3.5 * HOUR, DAY + 3.5 * HOUR),
            ],
        )

    def live(begin: datetime, end: datetime) -> list[tuple[datetime, datetime]]:
        return connection.execute("SELECT * FROM live_intervals(%s, %s)", (begin, end)).fetchall()

    whole = [(DAY, DAY + 3.5 * HOUR), (DAY + 4 * HOUR, DAY + 5 * HOUR)]
    assert live(DAY - HOUR, DAY + 9 * HOUR) == whole
    assert live(DAY + HOUR, DAY + 4.5 * HOUR) == [
        (DAY + HOUR, DAY + 3.5 * HOUR), (DAY + 4 * HOUR, DAY + 4.5 * HOUR)
    ]  # fmt: skip
    assert live(DAY + 3.5 * HOUR, DAY + 4 * HOUR) == []
