"""The store over a real database that is cut off, stuck or missing, with a real spool."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from ingest_daemon.link import LinkState, Transition
from ingest_daemon.metrics import Metrics
from ingest_daemon.reading import Reading, Rejection
from ingest_daemon.spool import Spool
from ingest_daemon.store import Store

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
_COMMIT = b"Q\x00\x00\x00\x0bCOMMIT\x00"
NOWHERE = "postgresql://peebot@127.0.0.1:1/peebot"


def reading(number: int) -> Reading:
    ts = NOON + timedelta(seconds=number)
    return Reading("NODE3000005", ts, ts, float(number), str(number), 24, False, number)


def rejection(number: int) -> Rejection:
    return Rejection("NODE3000005", {"Value": None}, "value_missing", NOON + timedelta(seconds=number))


def rows(connection: psycopg.Connection, query: Any) -> list[Any]:
    return [row[0] if len(row) == 1 else row for row in connection.execute(query).fetchall()]


def stored(connection: psycopg.Connection) -> list[int]:
    return rows(connection, "SELECT event_id FROM telemetry_reading ORDER BY ts")


def flush_until(store: Store, condition: Callable[[], object], timeout_s: float = 60.0) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, "it did not happen in time"
        store.flush(None, time.monotonic())
        time.sleep(0.02)


@pytest.fixture
def observer(database_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


class Proxy:
    """Between a client and its PostgreSQL; `cut` ends the next COMMIT's connection before it is answered."""

    def __init__(self, database_url: str) -> None:
        self._server = conninfo_to_dict(database_url)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = make_conninfo(
            database_url, host="127.0.0.1", port=self._listener.getsockname()[1], sslmode="disable"
        )
        self.cut = threading.Event()
        self.cuts = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            address = (str(self._server["host"]), int(str(self._server["port"])))
            server = socket.create_connection(address)
            threading.Thread(target=self._forward, args=(server, client), daemon=True).start()
            threading.Thread(target=self._forward_watched, args=(client, server), daemon=True).start()

    def _forward(self, source: socket.socket, target: socket.socket) -> None:
        with closing(source), closing(target):
            try:
                while data := source.recv(65536):
                    target.sendall(data)
            except OSError:
                return

    def _forward_watched(self, client: socket.socket, server: socket.socket) -> None:
        try:
            while data := client.recv(65536):
                if self.cut.is_set() and _COMMIT in data:
                    self.cut.clear()
                    self.cuts += 1
                    # The server gets it; the client will never hear what came of it.
                    client.shutdown(socket.SHUT_RDWR)
                server.sendall(data)
        except OSError:
            return


@pytest.fixture
def proxy(database_url: str) -> Iterator[Proxy]:
    proxy = Proxy(database_url)
    yield proxy
    proxy.close()


@contextmanager
def locked(database_url: str, table: str) -> Iterator[None]:
    """Somebody holds a lock, so that whoever stores is stuck in a statement."""
    with psycopg.connect(database_url) as connection:
        connection.execute(f"LOCK TABLE {table}".encode())
        yield
        connection.rollback()


def wait_until_somebody_waits(observer: psycopg.Connection) -> None:
    """Until somebody wants a lock in this database that another has."""
    waits = (
        "SELECT count(*) FROM pg_locks WHERE NOT granted"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    deadline_s = time.monotonic() + 60
    while rows(observer, waits) == [0]:
        assert time.monotonic() < deadline_s, "nobody waits"
        time.sleep(0.02)


def test_what_breaks_in_commit_is_stored_once_all_the_same(
    proxy: Proxy, observer: psycopg.Connection
) -> None:
    store = Store(proxy.url, "isslive", 1000)
    for number in range(5):
        store.add([reading(10)])
        flush_until(store, lambda: store.waiting() == 0)
        proxy.cut.set()
        store.add([reading(number), rejection(number)])
        # Equal in all but its moment.
        store.add([rejection(number)])
        flush_until(store, lambda: store.waiting() == 0 and not proxy.cut.is_set())
    assert store.finish(None)
    assert proxy.cuts == 5
    assert stored(observer) == [0, 1, 2, 3, 4, 10]
    assert rows(observer, "SELECT count(*) FROM rejected_reading") == [10]
    assert rows(observer, "SELECT count(DISTINCT received_at) FROM rejected_reading") == [10]


def test_what_the_database_does_not_take_is_on_disk_and_survives_the_process(
    database_url: str, observer: psycopg.Connection, tmp_path: Path
) -> None:
    # Much more than fits into memory.
    store = Store(NOWHERE, "isslive", 10, spool=Spool(tmp_path, 1 << 24))
    for number in range(60):
        flush_until(store, lambda: store.room() == 10)
        store.add([reading(number)])
    store.add([rejection(1)])
    assert store.finish(None)
    again = Store(database_url, "isslive", 10, spool=Spool(tmp_path, 1 << 24))
    assert again.waiting() == 61
    again.add([reading(60)])
    flush_until(again, lambda: again.waiting() == 0)
    assert again.finish(None)
    assert stored(observer) == list(range(61))
    assert rows(observer, "SELECT reason FROM rejected_reading") == ["value_missing"]
    assert not list(tmp_path.glob("*.spool"))


def test_a_database_that_does_not_answer_counts_as_away(
    database_url: str, observer: psycopg.Connection, tmp_path: Path
) -> None:
    spool = Spool(tmp_path, 1 << 24)
    store = Store(database_url, "isslive", 1000, spool=spool)
    store.add([reading(0)])
    flush_until(store, lambda: store.waiting() == 0)
    with locked(database_url, "telemetry_revision"):
        store.add([reading(1)])
        flush_until(store, lambda: spool.readings == 1)
        store.add([reading(2)])
        assert store.flush(None, time.monotonic())
        assert spool.readings == 2
    flush_until(store, lambda: store.waiting() == 0)
    assert store.finish(None)
    assert stored(observer) == [0, 1, 2]


def test_the_link_is_confirmed_twice_a_second_and_never_beyond_what_is_stored(
    database_url: str, observer: psycopg.Connection
) -> None:
    def confirm(store: Store, seconds: float) -> None:
        store.flush(NOON + timedelta(seconds=seconds), seconds)

    seen = "SELECT extract(epoch FROM last_seen_at - started_at)::float8 FROM link_interval"
    store = Store(database_url, "isslive", 1000, monotonic_s=lambda: 0.0)
    store.add_transitions([Transition(LinkState.LIVE, NOON)])
    for seconds in (0.0, 0.4, 0.6, 1.0):
        confirm(store, seconds)
    # The last one came too soon after the one before.
    flush_until(store, lambda: rows(observer, seen) == [0.6])
    with locked(database_url, "telemetry_revision"):
        store.add([reading(1)])
        for seconds in (2.0, 3.0):
            confirm(store, seconds)
        wait_until_somebody_waits(observer)
        assert rows(observer, seen) == [0.6]
    flush_until(store, lambda: rows(observer, seen) == [3.0])
    assert store.finish(None)
    assert stored(observer) == [1]


def test_the_link_through_a_spool_and_a_crash_lacks_nothing_but_the_time_between_two_daemons(
    database_url: str, observer: psycopg.Connection, tmp_path: Path
) -> None:
    def at(seconds: float) -> datetime:
        return NOON + timedelta(seconds=seconds)

    first = Store(database_url, "isslive", 1000, spool=Spool(tmp_path, 1 << 24))
    first.add_transitions([Transition(LinkState.LIVE, at(0))])
    first.flush(at(10), time.monotonic())
    flush_until(first, lambda: rows(observer, "SELECT last_seen_at FROM link_interval") == [at(10)])
    observer.execute("ALTER TABLE link_interval RENAME TO elsewhere")
    first.add_transitions([Transition(LinkState.LOS, at(100))])
    flush_until(first, lambda: list(tmp_path.glob("*.spool")) != [])
    first.add_transitions([Transition(LinkState.LIVE, at(200))])
    assert first.flush(at(300), time.monotonic() + 1)
    # It ends without having stored any of it.
    first.close()
    observer.execute("ALTER TABLE elsewhere RENAME TO link_interval")
    second = Store(database_url, "isslive", 1000, spool=Spool(tmp_path, 1 << 24))
    second.add_transitions([Transition(LinkState.LIVE, at(301))])
    second.flush(at(310), time.monotonic())
    newest = "SELECT last_seen_at FROM link_interval WHERE ended_at IS NULL"
    flush_until(second, lambda: rows(observer, newest) == [at(310)])
    assert second.finish(None)
    history = rows(observer, "SELECT state, started_at, ended_at FROM link_interval ORDER BY started_at")
    assert history == [
        ("LIVE", at(0), at(100)),
        ("LOS", at(100), at(200)),
        ("LIVE", at(200), at(300)),
        ("DOWN", at(300), at(301)),
        ("LIVE", at(301), None),
    ]


def test_when_nobody_takes_anything_memory_is_bounded_and_it_goes_on_afterwards(
    database_url: str, observer: psycopg.Connection, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    metrics = Metrics()
    store = Store(database_url, "isslive", 50, metrics, Spool(tmp_path, 2000))

    def told(name: str) -> float | None:
        return metrics.registry.get_sample_value(f"peebot_spool_{name}")

    assert (told("limit_bytes"), told("full")) == (2000, 0)
    number = 0
    with locked(database_url, "telemetry_revision"):
        deadline_s = time.monotonic() + 120
        while store.room() or "the spool has reached its limit" not in caplog.text:
            assert time.monotonic() < deadline_s
            if store.room():
                store.add([reading(number)])
                number += 1
            store.flush(None, time.monotonic())
            time.sleep(0.005)
        assert sum(path.stat().st_size for path in tmp_path.glob("*.spool")) <= 2000
        assert store.spool_is_full()
        assert told("full") == 1
    flush_until(store, lambda: store.waiting() == 0)
    assert store.room() == 50
    flush_until(store, lambda: not store.spool_is_full())
    assert told("full") == 0
    assert store.finish(None)
    assert stored(observer) == list(range(number))


def test_torn_records_are_told_in_the_database_and_the_rest_is_stored(
    database_url: str, observer: psycopg.Connection, tmp_path: Path
) -> None:
    store = Store(NOWHERE, "isslive", 1000, spool=Spool(tmp_path, 1 << 24))
    for number in range(3):
        store.add([reading(number)])
        flush_until(store, lambda: store.room() == 1000)
    assert store.finish(None)
    [path] = tmp_path.glob("*.spool")
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 5)
    again = Store(database_url, "isslive", 1000, spool=Spool(tmp_path, 1 << 24))
    again.flush(NOON, time.monotonic())
    flush_until(again, lambda: again.waiting() == 0)
    assert again.finish(NOON)
    assert stored(observer) == [0, 1]
    told = rows(observer, "SELECT reason, fields FROM rejected_reading")
    assert told == [("spool_damaged", {"records": 1, "count": 1})]


@pytest.mark.every_edition
def test_late_readings_wait_while_their_day_is_put_in_order_and_are_then_stored(
    database_url: str, observer: psycopg.Connection, tmp_path: Path
) -> None:
    store = Store(database_url, "isslive", 1000, spool=Spool(tmp_path, 1 << 24))
    store.add([reading(0)])
    flush_until(store, lambda: store.waiting() == 0)
    observer.execute("UPDATE telemetry_revision SET updated_at = updated_at - interval '2 hours'")
    with psycopg.connect(database_url) as maintenance:
        done = maintenance.execute(
            "SELECT order_chunk(%s, %s)", (NOON.replace(hour=0), NOON + timedelta(days=3))
        ).fetchone()
        assert done == (True,)
        store.add([reading(1)])
        wait_until_somebody_waits(observer)
        # What cannot wait in memory for long is on the disk meanwhile.
        flush_until(store, lambda: store.in_memory() == 0)
        assert store.waiting() == 1
    flush_until(store, lambda: store.waiting() == 0)
    assert store.finish(None)
    assert stored(observer) == [0, 1]


def test_a_hostile_feed_stores_a_hundred_rejections_a_minute_and_their_number(
    database_url: str, observer: psycopg.Connection
) -> None:
    store = Store(database_url, "isslive", 100_000)
    for start in range(0, 30_000, 1000):
        store.add(rejection(0)._replace(fields={"Value": "x" * 500}) for _ in range(start, start + 1000))
        store.flush(NOON, time.monotonic())
    store.flush(NOON + timedelta(minutes=1), time.monotonic())
    assert store.finish(NOON)
    assert rows(observer, "SELECT count(*) FROM rejected_reading WHERE item_id <> '*'") == [100]
    assert rows(observer, "SELECT reason, fields FROM rejected_reading WHERE item_id = '*'") == [
        ("value_missing", {"suppressed": 29_900})
    ]


def test_with_a_spool_the_catalogue_is_known_while_the_database_is_away(
    database_url: str, tmp_path: Path
) -> None:
    spool = Spool(tmp_path, 1 << 20)
    items = Store(database_url, "isslive", 10, spool=spool).items(0.0)
    assert items is not None
    blind = Store(NOWHERE, "isslive", 10, spool=spool)
    assert blind.items(0.0) == items
    assert blind.away_since_s() is None
    assert Store(NOWHERE, "isslive", 10).items(0.0) is None


def test_a_fault_of_the_storing_thread_is_raised_in_the_main_loop_and_loses_nothing(
    database_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    spool = Spool(tmp_path, 1 << 20)
    store = Store(database_url, "isslive", 10, spool=spool)
    monkeypatch.setattr("ingest_daemon.committer.Committer.commit", lambda *_: 1 / 0)
    store.add([reading(1)])
    with pytest.raises(ZeroDivisionError):
        flush_until(store, lambda: False)
    assert spool.readings == 1
    store.close()
