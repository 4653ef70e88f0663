"""The minutes after readings that came late, or in whatever order."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest

from peebot_dagster.minutes import PROCESSOR, refresh_minutes
from peebot_dagster.store import contiguous_spans, stale_hours

StoreReadings = Callable[..., None]
SayLive = Callable[[datetime, datetime], None]

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)


def minutes(connection: psycopg.Connection) -> list[Any]:
    return connection.execute("SELECT * FROM telemetry_minute ORDER BY channel_id, minute").fetchall()


def catch_up_minutes(connection: psycopg.Connection) -> list[datetime]:
    """Recompute what is stale until nothing is, as the schedule does; the hours that this took."""
    computed: list[datetime] = []
    while hours := stale_hours(connection, PROCESSOR):
        for start, end in contiguous_spans(hours):
            refresh_minutes(connection, start, end)
        computed += hours
    return sorted(computed)


def test_late_readings_make_exactly_their_hour_stale(
    connection: psycopg.Connection, store_readings: StoreReadings, day: datetime
) -> None:
    store_readings([(day + i * HOUR, 5) for i in range(5)])
    refresh_minutes(connection, day, day + 5 * HOUR)

    store_readings([(day + 2 * HOUR + MINUTE, 7)])

    assert catch_up_minutes(connection) == [day + 2 * HOUR]


@pytest.mark.parametrize("seed", range(3))
def test_minutes_are_the_same_whatever_the_order_in_which_the_readings_came(
    connection: psycopg.Connection,
    store_readings: StoreReadings,
    live_link: SayLive,
    day: datetime,
    seed: int,
) -> None:
    source = random.Random(seed)
    live_link(day, day + 3 * HOUR)
    live_link(day + 3 * HOUR + 90 * MINUTE, day + 9 * HOUR)
    readings = [(day + timedelta(seconds=source.randrange(9 * 3600)), float(i)) for i in range(12)]
    store_readings([(day + i * HOUR, 3.0) for i in range(9)], "NODE3000004")
    for reading in readings:
        store_readings([reading])
        if source.random() < 0.5:
            catch_up_minutes(connection)
    catch_up_minutes(connection)
    piecemeal = minutes(connection)

    connection.execute("DELETE FROM telemetry_minute")
    refresh_minutes(connection, day, day + 10 * HOUR)

    assert piecemeal == minutes(connection)


@pytest.mark.every_edition
def test_two_days_of_a_new_week_are_computed_at_the_same_time(
    database_url: str, store_readings: StoreReadings, live_link: SayLive, day: datetime
) -> None:
    monday = day + timedelta(days=2)
    store_readings([(monday + i * HOUR, 5) for i in range(48)])
    live_link(monday, monday + 48 * HOUR)
    tuesday = monday + 24 * HOUR

    def refresh(start: datetime) -> int:
        with psycopg.connect(database_url) as connection:
            return refresh_minutes(connection, start, start + 24 * HOUR)

    with (
        ThreadPoolExecutor(1) as pool,
        psycopg.connect(database_url, autocommit=True) as observer,
        psycopg.connect(database_url) as second,
    ):
        with second.transaction():
            second.execute("SELECT lock_telemetry_minute(%s, %s)", (tuesday, tuesday + HOUR))
            first = pool.submit(refresh, monday)
            deadline = time.monotonic() + 60
            while observer.execute(_WAITS).fetchone() is None:
                assert not first.done()
                assert time.monotonic() < deadline, "it does not wait"
                time.sleep(0.01)
            # The first one waits for this day; whoever computes it must not have to wait for the first.
            second.execute("SET LOCAL lock_timeout = '10s'")
            second.execute("SELECT refresh_telemetry_minute(%s, %s)", (tuesday, tuesday + 24 * HOUR))
        assert first.result(timeout=30) > 0
        assert len(minutes(second)) == 48 * 60


_WAITS = """
SELECT 1 FROM pg_locks JOIN pg_database d ON d.oid = database
WHERE locktype = 'advisory' AND NOT granted AND datname = current_database()
"""
