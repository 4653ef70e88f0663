"""Days that are over are put in the order in which they are read; nobody who stores or reads loses by it."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from psycopg import sql as pgsql

from ingest_daemon.reading import Reading
from ingest_daemon.writer import Writer
from peebot_dagster.housekeeping import Ordering, order_chunks

pytestmark = pytest.mark.every_edition(one_connection=True)

TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
NIGHT = TODAY + 3 * HOUR
"""When the housekeeping is done: not too near to the end of the day before."""


def store(
    connection: psycopg.Connection, start: datetime, count: int, every: timedelta, first: int = 0
) -> None:
    """Store `count` readings of three channels in turn from `start` on, and note it in telemetry_revision."""
    end = start + (count - 1) * every
    connection.execute("SELECT create_telemetry_chunks(%s, %s)", (start, end))
    connection.execute(
        """
        INSERT INTO telemetry_reading
        SELECT 1 + k %% 3, %(start)s + k * %(every)s::interval, %(start)s, k, k::text, 24, false,
            %(first)s + k
        FROM generate_series(0, %(last)s) k
        """,
        {"start": start, "every": every, "last": count - 1, "first": first},
    )
    connection.execute(
        "INSERT INTO telemetry_revision AS r (hour, revision, readings) VALUES (%s, 1, %s)"
        " ON CONFLICT (hour) DO UPDATE SET readings = r.readings + excluded.readings",
        (start, count),
    )
    # What was stored long ago.
    connection.execute("UPDATE telemetry_revision SET updated_at = clock_timestamp() - interval '2 hours'")
    connection.commit()


def store_day(connection: psycopg.Connection, days_ago: int) -> datetime:
    start = TODAY - days_ago * DAY
    store(connection, start, 300, timedelta(minutes=4))
    return start


def on_disk(connection: psycopg.Connection, start: datetime) -> list[tuple[int, datetime]]:
    """Channel and time of the chunk's rows in the order in which they lie on the disk."""
    ((chunk,),) = connection.execute(
        "SELECT chunk FROM chunks_of('telemetry_reading') WHERE starts_at = %s", (start,)
    ).fetchall()
    name = pgsql.SQL(".").join(map(pgsql.Identifier, chunk.split(".")))
    rows = connection.execute(
        pgsql.SQL("SELECT channel_id, ts FROM {} ORDER BY ctid").format(name)
    ).fetchall()
    connection.commit()
    return [(channel, ts) for channel, ts in rows]


def in_order(rows: list[tuple[int, datetime]]) -> list[tuple[int, datetime]]:
    """As the index has them: by channel, the newest first."""
    return sorted(rows, key=lambda row: (row[0], -row[1].timestamp()))


def contents(connection: psycopg.Connection) -> list[tuple[object, ...]]:
    rows = connection.execute("SELECT * FROM telemetry_reading ORDER BY channel_id, ts, event_id").fetchall()
    connection.commit()
    return rows


def wait_until_it_waits(observer: psycopg.Connection, pid: int) -> None:
    """Until this server process wants a lock that another has."""
    deadline_s = time.monotonic() + 60
    waits = "SELECT FROM pg_locks WHERE NOT granted AND pid = %s"
    while observer.execute(waits, (pid,)).fetchone() is None:
        assert time.monotonic() < deadline_s, "it waits for nobody"
        time.sleep(0.02)


def test_days_that_are_over_are_put_in_order_once_the_newest_first(connection: psycopg.Connection) -> None:
    starts = [store_day(connection, days_ago) for days_ago in (1, 2, 3)]
    before = contents(connection)
    assert all(on_disk(connection, start) != in_order(on_disk(connection, start)) for start in starts)
    assert order_chunks(connection, NIGHT) == Ordering(tuple(starts), {})
    assert all(on_disk(connection, start) == in_order(on_disk(connection, start)) for start in starts)
    assert contents(connection) == before
    assert order_chunks(connection, NIGHT) == Ordering((), {})


def test_no_more_days_are_put_in_order_than_asked_and_the_rest_follows(
    connection: psycopg.Connection,
) -> None:
    newest, middle, oldest = (store_day(connection, days_ago) for days_ago in (1, 2, 3))
    assert order_chunks(connection, NIGHT, at_most=2).ordered == (newest, middle)
    assert order_chunks(connection, NIGHT, at_most=2).ordered == (oldest,)


def test_neither_the_running_day_nor_one_that_still_fills_is_touched(connection: psycopg.Connection) -> None:
    store(connection, TODAY, 100, timedelta(minutes=1))
    filling = store_day(connection, 1)
    over = store_day(connection, 2)
    connection.execute(
        "UPDATE telemetry_revision SET updated_at = clock_timestamp() WHERE hour = %s", (filling,)
    )
    connection.commit()
    assert order_chunks(connection, NIGHT).ordered == (over,)
    # Whoever asks for them by name.
    for start in (TODAY, filling):
        assert connection.execute("SELECT order_chunk(%s, %s)", (start, NIGHT)).fetchone() == (False,)
    connection.commit()
    assert order_chunks(connection, TODAY + HOUR / 2).ordered == ()


def test_a_day_is_put_in_order_again_when_much_has_come_late_and_not_for_a_little(
    connection: psycopg.Connection,
) -> None:
    start = store_day(connection, 5)
    assert order_chunks(connection, NIGHT).ordered == (start,)
    store(connection, start + timedelta(seconds=1), 30, timedelta(minutes=4), first=1000)
    assert order_chunks(connection, NIGHT).ordered == ()
    store(connection, start + timedelta(seconds=2), 3, timedelta(minutes=4), first=2000)
    assert order_chunks(connection, NIGHT).ordered == (start,)
    assert on_disk(connection, start) == in_order(on_disk(connection, start))
    assert order_chunks(connection, NIGHT).ordered == ()


def test_a_day_that_was_dropped_and_is_replayed_begins_anew(connection: psycopg.Connection) -> None:
    replayed, other = store_day(connection, 5), store_day(connection, 2)
    assert order_chunks(connection, NIGHT).ordered == (other, replayed)
    connection.execute("SELECT drop_old_telemetry('1 day', %s)", (replayed + 2 * DAY,))
    connection.commit()
    store_day(connection, 3)
    order_chunks(connection, NIGHT)
    # Its revision goes on, and by that these few are nothing that came late.
    store(connection, replayed, 10, timedelta(minutes=4))
    assert order_chunks(connection, NIGHT).ordered == (replayed,)


def test_within_a_transaction_nothing_is_put_in_order(connection: psycopg.Connection) -> None:
    store_day(connection, 2)
    connection.execute("SELECT 1")
    with pytest.raises(ValueError, match="transaction of its own"):
        order_chunks(connection, NIGHT)


@pytest.mark.several_connections
def test_a_day_in_use_is_left_for_the_next_night_and_told_while_the_others_are_put_in_order(
    connection: psycopg.Connection, database_url: str
) -> None:
    starts = [store_day(connection, days_ago) for days_ago in (1, 2, 3)]
    connection.execute("ALTER FUNCTION order_chunk(timestamptz, timestamptz) SET lock_timeout = '200ms'")
    connection.commit()
    with psycopg.connect(database_url) as reader:
        reader.execute(
            "SELECT count(*) FROM telemetry_reading WHERE ts >= %s AND ts < %s", (starts[1], starts[0])
        )
        done = order_chunks(connection, NIGHT)
    assert done.ordered == (starts[0], starts[2])
    assert list(done.left) == [starts[1]]
    assert "lock timeout" in done.left[starts[1]]
    assert order_chunks(connection, NIGHT) == Ordering((starts[1],), {})


@pytest.mark.several_connections
def test_late_readings_wait_for_their_day_and_are_then_stored_while_others_go_on(
    connection: psycopg.Connection, database_url: str
) -> None:
    def a_reading(ts: datetime) -> Reading:
        return Reading("NODE3000005", ts, ts, 1.0, "1", 24, False, 77)

    start = store_day(connection, 1)
    with (
        psycopg.connect(database_url, autocommit=True) as late,
        psycopg.connect(database_url, autocommit=True, options="-c lock_timeout=10s") as live,
        ThreadPoolExecutor(1) as pool,
    ):
        connection.execute("SELECT order_chunk(%s, %s)", (start, NIGHT))
        stored_late = pool.submit(Writer(late).store, [a_reading(start + HOUR)], [])
        try:
            wait_until_it_waits(live, late.info.backend_pid)
            assert Writer(live).store([a_reading(TODAY)], []).stored == 1
            assert not stored_late.done()
        finally:
            connection.commit()
        assert stored_late.result(timeout=60).stored == 1
    late_rows = "SELECT count(*) FROM telemetry_reading WHERE ts = %s AND event_id = 77"
    assert connection.execute(late_rows, (start + HOUR,)).fetchone() == (1,)
