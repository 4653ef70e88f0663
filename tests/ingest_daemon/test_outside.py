"""The daemon as a service manager, a monitor and a reader of its log see it."""

from __future__ import annotations

import json
import os
import re
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from ingest_daemon import health as health_module
from ingest_daemon.bounded_queue import BoundedQueue
from ingest_daemon.channel_slice import ChannelSlice, NoSuchChannelError
from ingest_daemon.clock import SystemClock, utc_now
from ingest_daemon.daemon import Daemon
from ingest_daemon.endpoint import Endpoint
from ingest_daemon.feed import FeedEvent, Heard, SessionLost, UpdatesLost
from ingest_daemon.health import Health
from ingest_daemon.link import Connection
from ingest_daemon.metrics import Metrics
from ingest_daemon.outside import Outside
from ingest_daemon.reading import RawUpdate
from ingest_daemon.service_manager import ServiceManager
from ingest_daemon.store import Store

PASSWORD = "s3cret/p@ss"
# Nobody listens there.
AWAY = "postgresql://peebot:s3cret%2Fp%40ss@127.0.0.1:1/peebot"


def heard(item: str, value: str | None = "1") -> Heard:
    now = utc_now()
    hours = (now - datetime(now.year, 1, 1, tzinfo=UTC)) / timedelta(hours=1) + 24
    update = RawUpdate(item, f"{hours:.9f}", value, "24", None, None, None, False, now)
    return Heard(update, time.monotonic())


def get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:  # noqa: S310  always http
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def wait_until(condition: Callable[[], object], timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


class Watched:
    """A daemon in a thread on a feed without a network; its service manager and its HTTP are real sockets."""

    def __init__(self, feed: Any, database_url: str, notify: Path, channels: str = "") -> None:
        self.manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.manager.bind(str(notify))
        self.manager.settimeout(60.0)
        self.queue: BoundedQueue[FeedEvent] = BoundedQueue(1000)
        watchdog = {"WATCHDOG_USEC": "600000", "WATCHDOG_PID": str(os.getpid())}
        self._outside = Outside(
            Metrics(), Health(time.monotonic()), ServiceManager({"NOTIFY_SOCKET": str(notify), **watchdog})
        )
        self.endpoint = Endpoint(0, self._outside.metrics, self._outside.health)
        self._stop = threading.Event()
        self._daemon = Daemon(
            feed, self.queue, Store(database_url, "isslive", 1000, self._outside.metrics), SystemClock(),
            watch_silence=True, channels=ChannelSlice.read(channels), outside=self._outside,
        )  # fmt: skip

    @contextmanager
    def running(self) -> Iterator[None]:
        thread = threading.Thread(target=self._daemon.run, args=(self._stop,))
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()
            self.endpoint.close()
            self.manager.close()

    def run(self) -> bool:
        return self._daemon.run(self._stop)

    def stop(self) -> None:
        self._stop.set()

    def health(self) -> tuple[int, Any]:
        status, line = get(f"{self.endpoint.url}/healthz")
        return status, json.loads(line)

    def metric(self, name: str) -> float | None:
        found = re.search(rf"^{re.escape(name)} (\S+)$", get(f"{self.endpoint.url}/metrics")[1], re.MULTILINE)
        return float(found[1]) if found else None

    def told(self, until: str, timeout_s: float = 60.0) -> list[str]:
        """What the service manager hears, up to this line."""
        lines: list[str] = []
        self.manager.settimeout(timeout_s)
        while until not in lines:
            lines += self.manager.recv(4096).decode().split("\n")
        return lines

    def hears_nothing(self, seconds: float) -> bool:
        self.manager.settimeout(seconds)
        try:
            return not self.manager.recv(4096)
        except TimeoutError:
            return True


def test_a_daemon_is_ready_while_the_station_is_heard_and_not_when_the_server_is_gone(
    fake_feed: Any, database_url: str, tmp_path: Path
) -> None:
    watched = Watched(fake_feed, database_url, tmp_path / "notify")
    with watched.running():
        assert watched.health()[0] == 503
        watched.told("READY=1")
        wait_until(lambda: fake_feed.opened)
        watched.queue.put(heard("TIME_000001"))
        wait_until(lambda: watched.health()[0] == 200)
        assert watched.health()[1]["feed"] == "LIVE"
        assert watched.metric('peebot_feed_state{state="LIVE"}') == 1.0
        watched.told("STATUS=LIVE")
        fake_feed.state = Connection.DISCONNECTED
        watched.queue.put(SessionLost())
        wait_until(lambda: str(watched.health()[1]["why"]).startswith("DOWN"))
        assert watched.health()[0] == 503
        fake_feed.state = Connection.CONNECTED
        wait_until(lambda: watched.metric("peebot_reconnects_total") == 1.0)
        watched.stop()
        watched.told("STOPPING=1")


def test_the_metrics_tell_what_became_of_each_update(
    fake_feed: Any, database_url: str, tmp_path: Path
) -> None:
    watched = Watched(fake_feed, database_url, tmp_path / "notify")
    with watched.running():
        twice = heard("NODE3000005", "7")
        for event in (twice, twice, heard("NODE3000005", "8"), heard("NODE3000005", None)):
            watched.queue.put(event)
        watched.queue.put(UpdatesLost("NODE3000005", 5, utc_now()))
        wait_until(lambda: watched.metric("peebot_stored_total") == 2.0)
        assert watched.metric("peebot_received_total") == 4.0
        assert watched.metric("peebot_duplicates_total") == 1.0
        assert watched.metric('peebot_rejected_total{reason="value_missing"}') == 1.0
        assert watched.metric('peebot_rejected_total{reason="lost_by_server"}') == 5.0
        # It is set at the end of a round, and the storing thread may be done only after that.
        wait_until(lambda: watched.metric("peebot_queue_depth") == 0.0)
        assert (watched.metric("peebot_copy_seconds_count") or 0) >= 1
        for lag in ("peebot_event_lag_seconds", "peebot_receive_lag_seconds"):
            assert 0 <= (watched.metric(lag) or -1) < 60


def test_a_main_loop_that_is_stuck_feeds_no_watchdog_and_is_not_ready(
    fake_feed: Any, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health_module, "STUCK_S", 0.8)
    release = threading.Event()
    watched = Watched(fake_feed, database_url, tmp_path / "notify")
    with watched.running():
        try:
            wait_until(lambda: fake_feed.opened)
            watched.queue.put(heard("TIME_000001"))
            wait_until(lambda: watched.health()[0] == 200)
            watched.told("STATUS=LIVE")
            watched.told("WATCHDOG=1")
            fake_feed.connection = lambda: release.wait(200) and Connection.CONNECTED
            wait_until(lambda: "the main loop is stuck" in str(watched.health()[1]["why"]))
            assert watched.health()[0] == 503
            while not watched.hears_nothing(0.01):
                pass
            assert watched.hears_nothing(1.0)
        finally:
            release.set()
        wait_until(lambda: watched.health()[0] == 200)
        watched.told("WATCHDOG=1")


def test_a_daemon_without_its_database_is_alive_but_not_ready_for_long(
    fake_feed: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health_module, "DATABASE_AWAY_S", 0.5)
    watched = Watched(fake_feed, AWAY, tmp_path / "notify")
    with watched.running():
        assert "READY=1" in watched.told("STATUS=starting, the database is away")
        wait_until(lambda: "the database is away for" in watched.health()[1]["why"])
        watched.told("WATCHDOG=1")


def test_a_slice_of_the_channels_is_subscribed(fake_feed: Any, database_url: str, tmp_path: Path) -> None:
    watched = Watched(fake_feed, database_url, tmp_path / "notify", "NODE300000[45],AIRLOCK00000[1-3]")
    with watched.running():
        wait_until(lambda: fake_feed.opened)
    assert sorted(fake_feed.opened[0]) == [
        "AIRLOCK000001", "AIRLOCK000002", "AIRLOCK000003", "NODE3000004", "NODE3000005", "TIME_000001",
    ]  # fmt: skip


def test_a_slice_that_matches_nothing_ends_the_daemon_before_it_subscribes(
    fake_feed: Any, database_url: str, tmp_path: Path
) -> None:
    watched = Watched(fake_feed, database_url, tmp_path / "notify", "NODE9*")
    with pytest.raises(NoSuchChannelError):
        watched.run()
    watched.endpoint.close()
    watched.manager.close()
    assert not fake_feed.opened


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_the_log_of_a_daemon_without_its_database_holds_no_password(
    start_daemon: Any, log_format: str
) -> None:
    daemon = start_daemon(
        "http://127.0.0.1:1", AWAY, "--log-format", log_format, "--metrics-port", "0", "--instance", "a"
    )
    wait_until(lambda: "database away" in daemon.log())
    url = re.search(r"http://127\.0\.0\.1:\d{2,}", daemon.log())
    assert url is not None
    assert get(f"{url[0]}/healthz")[0] == 503
    assert daemon.terminate() == 0
    log = daemon.log()
    assert PASSWORD not in log
    assert "s3cret" not in log
    assert "as isslive/a" in log
    if log_format == "json":
        entries = [json.loads(line) for line in log.splitlines()]
        assert {"time", "level", "logger", "message", "event"} <= set.intersection(*map(set, entries))
        assert any(entry.get("source") == "isslive/a" for entry in entries)


def test_the_password_is_not_told_when_the_database_refuses_it(start_daemon: Any, database_url: str) -> None:
    parts = psycopg.conninfo.conninfo_to_dict(database_url)
    wrong = psycopg.conninfo.make_conninfo(**{**parts, "password": "wr0ng-s3cret"})
    daemon = start_daemon("http://127.0.0.1:1", wrong)
    wait_until(lambda: "database away" in daemon.log())
    daemon.terminate()
    assert "s3cret" not in daemon.log()


def test_a_port_that_is_taken_keeps_the_daemon_from_nothing_but_telling(start_daemon: Any) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        daemon = start_daemon("http://127.0.0.1:1", AWAY, "--metrics-port", str(port))
        wait_until(lambda: "database away" in daemon.log())
        assert f"port {port} of 127.0.0.1 can't be had" in daemon.log()
        assert daemon.is_running()
        assert daemon.terminate() == 0
