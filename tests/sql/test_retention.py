"""What is old goes; what was computed from it stays, whatever arrives later. On each edition the same."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import psycopg
import pytest

pytestmark = pytest.mark.every_edition(one_connection=True)

MONDAY = datetime(2025, 3, 3, tzinfo=UTC)
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
LEVEL, QUIET = 5, 7
READINGS = [
    (QUIET, MONDAY + 3 * HOUR, 2.0),
    (LEVEL, MONDAY + 6 * HOUR, 10.0),
    (LEVEL, MONDAY + 18 * HOUR, 20.0),
    (LEVEL, MONDAY + DAY + 6 * HOUR, 30.0),
    (LEVEL, MONDAY + 2 * DAY + 6 * HOUR, 40.0),
]


def store(connection: psycopg.Connection, channel: int, ts: datetime, value: float) -> None:
    connection.execute("SELECT create_telemetry_chunks(%s, %s)", (ts, ts))
    connection.execute(
        "INSERT INTO telemetry_reading VALUES (%s, %s, %s, %s, %s, 24, false, %s)",
        (channel, ts, ts, value, str(value), int(value)),
    )


def refresh(connection: psycopg.Connection, start: datetime, end: datetime) -> None:
    connection.execute("SELECT refresh_telemetry_minute(%s, %s)", (start, end))


def drop_readings(connection: psycopg.Connection, as_of: datetime) -> int:
    row = connection.execute("SELECT drop_old_telemetry('1 day', %s)", (as_of,)).fetchone()
    assert row is not None
    return int(row[0])


def days(connection: psycopg.Connection) -> list[datetime]:
    rows = connection.execute("SELECT starts_at FROM chunks_of('telemetry_reading') ORDER BY 1")
    return [row[0] for row in rows]


def minutes(connection: psycopg.Connection) -> list[tuple[object, ...]]:
    return connection.execute("SELECT * FROM telemetry_minute ORDER BY channel_id, minute").fetchall()


@pytest.fixture
def three_days(connection: psycopg.Connection) -> psycopg.Connection:
    """Three live days with readings, and their minutes."""
    for channel, ts, value in READINGS:
        store(connection, channel, ts, value)
    connection.execute(
        "INSERT INTO link_interval (source, state, started_at, last_seen_at, ended_at)"
        " VALUES ('isslive', 'LIVE', %(start)s, %(end)s, %(end)s)",
        {"start": MONDAY, "end": MONDAY + 3 * DAY},
    )
    refresh(connection, MONDAY, MONDAY + 3 * DAY)
    connection.commit()
    return connection


def test_only_chunks_that_are_old_to_their_last_reading_are_dropped(connection: psycopg.Connection) -> None:
    connection.execute("SET timezone = 'Pacific/Auckland'")
    for day in range(4):
        store(connection, LEVEL, MONDAY + day * DAY, 1)
    as_of = MONDAY + 2 * DAY - timedelta(seconds=1)
    assert drop_readings(connection, as_of) == 0
    assert drop_readings(connection, as_of + timedelta(seconds=1)) == 1
    assert drop_readings(connection, as_of + timedelta(seconds=1)) == 0
    assert days(connection) == [MONDAY + DAY, MONDAY + 2 * DAY, MONDAY + 3 * DAY]


def test_minutes_outlive_their_readings_whatever_is_asked_for(three_days: psycopg.Connection) -> None:
    before = minutes(three_days)
    assert drop_readings(three_days, MONDAY + 3 * DAY) == 2
    refresh(three_days, MONDAY - DAY, MONDAY + 3 * DAY)
    assert minutes(three_days) == before


def test_a_snapshot_with_a_stamp_in_a_dropped_day_is_stored_and_changes_no_minute(
    three_days: psycopg.Connection,
) -> None:
    before = minutes(three_days)
    drop_readings(three_days, MONDAY + 2 * DAY)
    store(three_days, LEVEL, MONDAY + 7 * HOUR, 99)
    refresh(three_days, MONDAY + 7 * HOUR, MONDAY + 8 * HOUR)
    assert minutes(three_days) == before
    assert drop_readings(three_days, MONDAY + 2 * DAY) == 1


def test_a_quiet_channel_keeps_its_value_when_its_only_reading_is_dropped(
    three_days: psycopg.Connection,
) -> None:
    before = minutes(three_days)
    drop_readings(three_days, MONDAY + 3 * DAY)
    start = MONDAY + 2 * DAY
    window = three_days.execute(
        "SELECT ts, value FROM telemetry_window(%s, %s, %s)", ([QUIET], start, start + HOUR)
    ).fetchall()
    assert window == [(MONDAY + 3 * HOUR, 2.0)]
    three_days.execute("DELETE FROM telemetry_minute WHERE minute >= %s", (start,))
    refresh(three_days, start, MONDAY + 3 * DAY)
    assert minutes(three_days) == before


def test_the_value_that_is_kept_is_the_newest_also_when_older_days_are_dropped_later(
    three_days: psycopg.Connection,
) -> None:
    drop_readings(three_days, MONDAY + 3 * DAY)
    store(three_days, QUIET, MONDAY - 30 * DAY, 1)
    drop_readings(three_days, MONDAY + 3 * DAY)
    kept = three_days.execute(
        "SELECT channel_id, ts, value FROM telemetry_last_dropped ORDER BY 1"
    ).fetchall()
    assert kept == [(LEVEL, MONDAY + DAY + 6 * HOUR, 30.0), (QUIET, MONDAY + 3 * HOUR, 2.0)]


def test_a_day_that_was_never_live_can_still_be_replayed_after_a_stray_stamp_in_it_was_dropped(
    connection: psycopg.Connection,
) -> None:
    store(connection, LEVEL, MONDAY + HOUR, 1)
    drop_readings(connection, MONDAY + 9 * DAY)
    store(connection, LEVEL, MONDAY + HOUR, 1)
    refresh(connection, MONDAY, MONDAY + 2 * HOUR)
    assert len(minutes(connection)) == 1


def test_a_replay_that_is_still_being_computed_is_left_alone(three_days: psycopg.Connection) -> None:
    three_days.execute(
        "INSERT INTO telemetry_revision (hour, revision, readings) VALUES (%s, 1, 1)", (MONDAY + 6 * HOUR,)
    )
    row = three_days.execute("SELECT * FROM maintain_store()").fetchone()
    assert row is not None
    assert row[0] == 2
    assert MONDAY in days(three_days)
    row = three_days.execute("SELECT * FROM maintain_store(unchanged_for => '0')").fetchone()
    assert row is not None
    assert row[0] == 1


def test_hours_and_days_outlive_the_minutes_and_count_once(three_days: psycopg.Connection) -> None:
    next_week = MONDAY + 7 * DAY
    store(three_days, LEVEL, next_week + HOUR, 50)
    refresh(three_days, next_week, next_week + 2 * HOUR)
    queries = (
        "SELECT * FROM telemetry_hour ORDER BY channel_id, hour",
        "SELECT * FROM telemetry_day ORDER BY channel_id, day",
    )
    hours, by_day = (three_days.execute(query).fetchall() for query in queries)
    assert len(hours) == 69 + 66 + 1
    assert len(by_day) == 3 + 3 + 1
    dropped = three_days.execute("SELECT drop_old_minutes('1 day', %s)", (next_week + DAY,)).fetchone()
    assert dropped == (1,)
    assert len(minutes(three_days)) == 1
    assert three_days.execute(queries[0]).fetchall() == hours
    for now, before in zip(three_days.execute(queries[1]).fetchall(), by_day, strict=True):
        # Summed up in another order.
        assert now[:6] + now[7:] == before[:6] + before[7:]
        assert now[6] == pytest.approx(before[6])
    refresh(three_days, MONDAY, next_week)
    assert len(minutes(three_days)) == 1


def test_the_daily_housekeeping_makes_chunks_ahead_and_drops_by_the_settings(
    three_days: psycopg.Connection,
) -> None:
    def maintain(as_of: datetime) -> tuple[int, int]:
        row = three_days.execute("SELECT * FROM maintain_store(%s)", (as_of,)).fetchone()
        assert row is not None
        return row[0], row[1]

    assert maintain(MONDAY + 29 * DAY) == (0, 0)
    assert maintain(MONDAY + 32 * DAY) == (2, 0)
    three_days.execute("SELECT change_setting('raw_retention_days', 40)")
    assert maintain(MONDAY + 42 * DAY) == (0, 0)
    three_days.execute("SELECT change_setting('minute_retention_days', 35)")
    assert maintain(MONDAY + 42 * DAY)[1] == 1
    if three_days.execute("SELECT store_edition()").fetchone() == ("postgresql",):
        assert days(three_days)[-1] == MONDAY + 44 * DAY


@pytest.mark.parametrize(("key", "days"), [("raw_retention_days", 0), ("nonsense", 3)])
def test_a_setting_that_makes_no_sense_is_refused(
    connection: psycopg.Connection, key: str, days: int
) -> None:
    with pytest.raises((psycopg.errors.CheckViolation, psycopg.errors.InvalidParameterValue)):
        connection.execute("SELECT change_setting(%s, %s)", (key, days))


@pytest.mark.several_connections
def test_dropping_gives_up_rather_than_hold_everyone_up(database_url: str) -> None:
    with psycopg.connect(database_url) as reader, psycopg.connect(database_url) as dropper:
        store(reader, LEVEL, MONDAY, 1)
        reader.commit()
        reader.execute("SELECT count(*) FROM telemetry_reading")
        dropper.execute("ALTER FUNCTION drop_chunk SET lock_timeout = '100ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            drop_readings(dropper, MONDAY + 9 * DAY)
