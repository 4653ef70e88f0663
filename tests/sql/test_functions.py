"""Windows and live time: what the SQL functions promise to the rooms above them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import psycopg
import pytest

pytestmark = pytest.mark.every_edition(one_connection=True)

DAY = datetime(2025, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def store(
    connection: psycopg.Connection, channel: int, ts: datetime, value: float, event_id: int = 0
) -> None:
    connection.execute(
        "INSERT INTO telemetry_reading VALUES (%s, %s, %s, %s, %s, 24, false, %s)",
        (channel, ts, ts, value, str(value), event_id),
    )


def create_chunks(connection: psycopg.Connection, begin: datetime, end: datetime) -> None:
    connection.execute("SELECT create_telemetry_chunks(%s, %s)", (begin, end))


def test_the_same_update_is_stored_once_also_in_a_late_chunk(connection: psycopg.Connection) -> None:
    create_chunks(connection, DAY, DAY)
    create_chunks(connection, DAY - 400 * 24 * HOUR, DAY - 400 * 24 * HOUR)
    for ts in (DAY, DAY - 400 * 24 * HOUR):
        store(connection, 1, ts, 1, event_id=7)
        store(connection, 1, ts, 2, event_id=8)
        with pytest.raises(psycopg.errors.UniqueViolation), connection.transaction():
            store(connection, 1, ts, 1, event_id=7)


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


def test_recent_is_the_last_minutes_and_the_reading_before_them(connection: psycopg.Connection) -> None:
    item = connection.execute("SELECT item_id FROM telemetry_channel WHERE channel_id = 1").fetchone()
    assert item is not None
    create_chunks(connection, DAY - 24 * HOUR, DAY)
    for minute in (-90, -11, -9, -1, 0):
        store(connection, 1, DAY + timedelta(minutes=minute), minute)
    rows = connection.execute("SELECT * FROM recent(%s, 10, %s)", (item[0], DAY)).fetchall()
    assert rows == [(DAY + timedelta(minutes=m), float(m), 24) for m in (-11, -9, -1)]
    assert connection.execute("SELECT * FROM recent('NOBODY', 10, %s)", (DAY,)).fetchall() == []


def test_a_window_tells_which_readings_came_as_a_first_state(connection: psycopg.Connection) -> None:
    create_chunks(connection, DAY, DAY)
    for minute, is_snapshot in ((-1, True), (1, True), (2, False)):
        ts = DAY + HOUR + timedelta(minutes=minute)
        connection.execute(
            "INSERT INTO telemetry_reading VALUES (1, %s, %s, 1, '1', 24, %s, %s)",
            (ts, ts, is_snapshot, minute),
        )
    rows = connection.execute(
        "SELECT is_snapshot FROM telemetry_window('{1}', %s, %s)", (DAY + HOUR, DAY + 2 * HOUR)
    ).fetchall()
    # The reading before the window is where its story begins: nothing before it can have been missed.
    assert rows == [(False,), (True,), (False,)]
