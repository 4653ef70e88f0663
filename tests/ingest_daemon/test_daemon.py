"""The daemon in this process, with a feed without a network and a real database."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from ingest_daemon.bounded_queue import BoundedQueue
from ingest_daemon.clock import Clock, FeedClock, SystemClock, utc_now
from ingest_daemon.daemon import Daemon
from ingest_daemon.feed import ClientOverflow, FeedEvent, Heard, SessionLost, UpdatesLost
from ingest_daemon.reading import RawUpdate
from ingest_daemon.store import Store


def heard(item: str, ts: datetime, value: str = "1", *, snapshot: bool = False) -> Heard:
    hours = (ts - datetime(ts.year, 1, 1, tzinfo=UTC)) / timedelta(hours=1) + 24
    update = RawUpdate(item, f"{hours:.9f}", value, "24", None, None, None, snapshot, utc_now())
    return Heard(update, time.monotonic())


@contextmanager
def running(
    feed: Any,
    queue: BoundedQueue[FeedEvent],
    database_url: str,
    clock: Clock,
    capacity: int = 1000,
    monotonic_s: Callable[[], float] = time.monotonic,
) -> Iterator[None]:
    stop = threading.Event()
    store = Store(database_url, "isslive", capacity)
    daemon = Daemon(feed, queue, store, clock, watch_silence=True, monotonic_s=monotonic_s)
    stored: list[bool] = []
    thread = threading.Thread(target=lambda: stored.append(daemon.run(stop)))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    assert stored == [True]


@pytest.fixture
def queue() -> BoundedQueue[FeedEvent]:
    return BoundedQueue(1000)


@pytest.fixture
def observer(database_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


def wait_until(condition: Callable[[], object], timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def one(connection: psycopg.Connection, query: Any) -> Any:
    row = connection.execute(query).fetchone()
    return None if row is None else row[0]


def test_all_channels_of_the_catalogue_are_subscribed(
    fake_feed: Any, queue: BoundedQueue[FeedEvent], database_url: str, observer: psycopg.Connection
) -> None:
    observer.execute("UPDATE telemetry_channel SET catalogued = false WHERE item_id = 'NODE3000009'")
    with running(fake_feed, queue, database_url, SystemClock()):
        wait_until(lambda: fake_feed.opened)
    catalogued = one(observer, "SELECT count(*) FROM telemetry_channel WHERE catalogued")
    assert len(fake_feed.opened[0]) == catalogued
    assert "NODE3000005" in fake_feed.opened[0]
    assert not fake_feed.is_open


def test_a_lone_update_is_committed_at_once_without_waiting_for_more(
    fake_feed: Any, queue: BoundedQueue[FeedEvent], database_url: str, observer: psycopg.Connection
) -> None:
    observer.execute("LISTEN telemetry_stored")
    with running(fake_feed, queue, database_url, SystemClock()):
        wait_until(lambda: fake_feed.opened)
        for count in range(3):
            queue.put(heard("NODE3000005", utc_now(), str(count)))
            assert list(observer.notifies(timeout=60, stop_after=1))
            assert one(observer, "SELECT count(*) FROM telemetry_reading") == count + 1


def test_what_is_in_the_queue_at_the_end_is_stored(
    fake_feed: Any, queue: BoundedQueue[FeedEvent], database_url: str, observer: psycopg.Connection
) -> None:
    class LateFeed(type(fake_feed)):  # type: ignore[misc]
        def close(self) -> None:
            super().close()
            queue.put(heard("NODE3000005", utc_now(), "42"))

    with running(LateFeed(), queue, database_url, SystemClock()):
        pass
    assert one(observer, "SELECT raw_value FROM telemetry_reading") in (None, "42")
    late = LateFeed()
    with running(late, queue, database_url, SystemClock()):
        wait_until(lambda: late.opened)
    assert one(observer, "SELECT raw_value FROM telemetry_reading") == "42"


def test_a_link_is_recorded_and_confirmed_again_and_again(
    fake_feed: Any, queue: BoundedQueue[FeedEvent], database_url: str, observer: psycopg.Connection
) -> None:
    seen = "SELECT last_seen_at FROM link_interval WHERE ended_at IS NULL"
    with running(fake_feed, queue, database_url, SystemClock()):
        wait_until(lambda: fake_feed.opened)
        queue.put(heard("TIME_000001", utc_now()))
        wait_until(lambda: one(observer, "SELECT state FROM link_interval") == "LIVE")
        for _ in range(4):
            before = one(observer, seen)
            wait_until(lambda: one(observer, seen) > before)  # noqa: B023
        queue.put(SessionLost())
        wait_until(lambda: one(observer, "SELECT state FROM link_interval WHERE ended_at IS NULL") == "DOWN")


def test_a_link_is_confirmed_no_further_than_the_feed_has_come(
    fake_feed: Any, queue: BoundedQueue[FeedEvent], database_url: str, observer: psycopg.Connection
) -> None:
    seen = "SELECT last_seen_at FROM link_interval WHERE ended_at IS NULL AND state = 'LIVE'"
    with running(fake_feed, queue, database_url, SystemClock()):
        wait_until(lambda: fake_feed.opened)
        queue.put(heard("TIME_000001", utc_now()))
        wait_until(lambda: one(observer, seen) is not None)
        fake_feed.behind = 4.0
        time.sleep(1.0)
        late = one(observer, seen)
        assert late is not None
        time.sleep(1.0)
        assert one(observer, seen) <= max(late, utc_now() - timedelta(seconds=4.0))
        fake_feed.behind = 0.0
        wait_until(lambda: one(observer, seen) > late + timedelta(seconds=2))


def test_the_link_of_a_daemon_that_ends_is_confirmed_no_further_than_it_listened(
    fake_feed: Any, queue: BoundedQueue[FeedEvent], database_url: str, observer: psycopg.Connection
) -> None:
    class SlowToClose(type(fake_feed)):  # type: ignore[misc]
        closing_since = utc_now()

        def close(self) -> None:
            type(self).closing_since = utc_now()
            time.sleep(0.7)
            super().close()

    feed = SlowToClose()
    with running(feed, queue, database_url, SystemClock()):
        wait_until(lambda: feed.opened)
        queue.put(heard("TIME_000001", utc_now()))
        wait_until(lambda: one(observer, "SELECT count(*) FROM link_interval WHERE state = 'LIVE'"))
    seen = one(observer, "SELECT max(last_seen_at) FROM link_interval")
    assert seen < SlowToClose.closing_since


def test_what_a_client_forgot_when_it_was_closed_is_counted_and_no_live_time_covers_it(
    fake_feed: Any, queue: BoundedQueue[FeedEvent], database_url: str, observer: psycopg.Connection
) -> None:
    began, now = utc_now() - timedelta(seconds=20), utc_now()
    since = now - timedelta(seconds=6)
    tick = heard("TIME_000001", began)
    queue.put(tick._replace(update=tick.update._replace(received_at=began)))
    queue.put(heard("NODE3000005", now))
    queue.put(ClientOverflow(since, 12_345, now))
    with running(fake_feed, queue, database_url, SystemClock()):
        wait_until(lambda: one(observer, "SELECT count(*) FROM rejected_reading"))
        wait_until(lambda: one(observer, "SELECT count(*) FROM link_interval") == 2)
    row = observer.execute("SELECT item_id, reason, fields, received_at FROM rejected_reading").fetchone()
    fields = {"count": 12_345, "seconds": 6.0, "since": since.isoformat()}
    assert row == ("*", "client_overflow", fields, now)
    links = observer.execute("SELECT state, started_at, ended_at FROM link_interval ORDER BY started_at")
    live, down = links.fetchall()
    assert live == ("LIVE", began, since)
    assert down[:2] == ("DOWN", since)


def test_updates_that_the_server_skipped_are_counted(
    fake_feed: Any, queue: BoundedQueue[FeedEvent], database_url: str, observer: psycopg.Connection
) -> None:
    queue.put(UpdatesLost("NODE3000005", 7, utc_now()))
    with running(fake_feed, queue, database_url, SystemClock()):
        wait_until(lambda: one(observer, "SELECT count(*) FROM rejected_reading"))
    row = observer.execute("SELECT item_id, reason, fields FROM rejected_reading").fetchone()
    assert row == ("NODE3000005", "lost_by_server", {"count": 7})


def test_a_full_queue_loses_its_oldest_and_says_how_many(
    fake_feed: Any, database_url: str, observer: psycopg.Connection
) -> None:
    queue: BoundedQueue[FeedEvent] = BoundedQueue(10)
    start = utc_now()
    for count in range(25):
        queue.put(heard("NODE3000005", start + timedelta(milliseconds=count), str(count)))
    with running(fake_feed, queue, database_url, SystemClock()):
        wait_until(lambda: one(observer, "SELECT count(*) FROM rejected_reading"))
    assert observer.execute("SELECT item_id, reason, fields FROM rejected_reading").fetchall() == [
        ("*", "queue_overflow", {"count": 15})
    ]
    values = observer.execute("SELECT raw_value FROM telemetry_reading ORDER BY ts").fetchall()
    assert [int(value) for (value,) in values] == list(range(15, 25))


def test_a_reading_that_the_database_refuses_does_not_hold_up_the_others(
    fake_feed: Any, queue: BoundedQueue[FeedEvent], database_url: str, observer: psycopg.Connection
) -> None:
    observer.execute("SELECT create_telemetry_chunks(now(), now() + interval '1 day')")
    observer.execute("ALTER TABLE telemetry_reading ADD CONSTRAINT odd CHECK (raw_value <> '3')")
    for count in range(10):
        queue.put(heard("NODE3000005", utc_now(), str(count)))
    with running(fake_feed, queue, database_url, SystemClock()):
        wait_until(lambda: one(observer, "SELECT count(*) FROM rejected_reading"))
    assert one(observer, "SELECT count(*) FROM telemetry_reading") == 9
    refused = observer.execute("SELECT reason, fields ->> 'Value' FROM rejected_reading").fetchall()
    assert refused == [("database_refused", "3")]


def test_in_a_replay_the_feed_tells_the_time(
    fake_feed: Any, queue: BoundedQueue[FeedEvent], database_url: str, observer: psycopg.Connection
) -> None:
    december, january = datetime(2024, 12, 30, 12, tzinfo=UTC), datetime(2025, 1, 20, tzinfo=UTC)
    queue.put(heard("NODE3000009", datetime(2024, 11, 1, tzinfo=UTC), snapshot=True))
    for moment in (december, january, january - timedelta(hours=1)):
        queue.put(heard("NODE3000005", moment))
        queue.put(heard("TIME_000001", moment))
    with running(fake_feed, queue, database_url, FeedClock(datetime(2025, 2, 1, tzinfo=UTC))):
        wait_until(lambda: one(observer, "SELECT max(last_seen_at) FROM link_interval") == january)
    rows = observer.execute(
        "SELECT ts, received_at FROM telemetry_reading JOIN telemetry_channel USING (channel_id)"
        " WHERE item_id = 'NODE3000005' ORDER BY ts"
    ).fetchall()
    assert rows == [(december, december), (january - timedelta(hours=1), january), (january, january)]
    intervals = observer.execute("SELECT state, started_at, last_seen_at, ended_at FROM link_interval")
    assert intervals.fetchall() == [("LIVE", december, january, None)]


def test_a_database_that_is_away_is_waited_for_and_misses_nothing(
    fake_feed: Any,
    queue: BoundedQueue[FeedEvent],
    database_url: str,
    observer: psycopg.Connection,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    with running(fake_feed, queue, database_url, SystemClock()):
        wait_until(lambda: fake_feed.opened)
        observer.execute("ALTER TABLE telemetry_reading RENAME TO elsewhere")
        for count in range(50):
            queue.put(heard("NODE3000005", utc_now(), str(count)))
        wait_until(lambda: "database not usable" in caplog.text)
        observer.execute("ALTER TABLE elsewhere RENAME TO telemetry_reading")
        wait_until(lambda: one(observer, "SELECT count(*) FROM telemetry_reading") == 50)
    assert "50 updates wait" in caplog.text
    assert "the database is back" in caplog.text


def test_while_nothing_can_be_stored_memory_is_bounded_and_the_feed_is_neither_silent_nor_confirmed(
    fake_feed: Any,
    queue: BoundedQueue[FeedEvent],
    database_url: str,
    observer: psycopg.Connection,
    caplog: pytest.LogCaptureFixture,
) -> None:
    seen = "SELECT last_seen_at FROM link_interval"
    passed_s = [0.0]

    def monotonic_s() -> float:
        return time.monotonic() + passed_s[0]

    with running(fake_feed, queue, database_url, SystemClock(), capacity=10, monotonic_s=monotonic_s):
        wait_until(lambda: fake_feed.opened)
        queue.put(heard("TIME_000001", utc_now()))
        wait_until(lambda: one(observer, "SELECT state FROM link_interval") == "LIVE")
        observer.execute("ALTER TABLE telemetry_reading RENAME TO elsewhere")
        for count in range(50):
            queue.put(heard("NODE3000005", utc_now(), str(count)))
        wait_until(lambda: len(queue) <= 40 and "database not usable" in caplog.text)
        before = one(observer, seen)
        # Minutes go by.
        for _ in range(4):
            passed_s[0] += 50.0
            time.sleep(0.25)
        assert len(queue) == 40
        assert len(fake_feed.opened) == 1
        assert one(observer, seen) == before
        observer.execute("ALTER TABLE elsewhere RENAME TO telemetry_reading")
        wait_until(lambda: one(observer, "SELECT count(*) FROM telemetry_reading") == 51)
        wait_until(lambda: one(observer, seen) > before)
    assert len(fake_feed.opened) == 1
    assert observer.execute("SELECT state, ended_at FROM link_interval").fetchall() == [("LIVE", None)]
