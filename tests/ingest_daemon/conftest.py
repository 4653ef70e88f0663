"""What the tests listen with: a feed without a network; and real daemons, servers and databases to break."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import psutil
import psycopg
import pytest

from ingest_daemon.link import CLOCK_ITEM, Connection
from iss_simulator.feed import Update, clock_update
from iss_simulator.thread import ServerThread
from peebot_local.embedded_postgres import EmbeddedPostgres
from sql.migrate import migrate
from tests.ingest_daemon import whole_daemon

ITEMS = ("NODE3000004", "NODE3000005", "NODE3000008", "NODE3000009", "USLAB000058")


class FakeFeed:
    def __init__(self) -> None:
        self.is_open = False
        self.opened: list[Sequence[str]] = []
        self.tended = 0
        self.state = Connection.CONNECTED
        self.behind = 0.0

    def open(self, items: Sequence[str]) -> None:
        assert not self.is_open
        self.is_open = True
        self.opened.append(items)

    def connection(self) -> Connection:
        return self.state

    def describe(self) -> str:
        return self.state.value

    def behind_s(self, monotonic_s: float) -> float:
        return self.behind

    def tend(self) -> None:
        self.tended += 1

    def close(self) -> None:
        self.is_open = False


@pytest.fixture
def fake_feed() -> FakeFeed:
    return FakeFeed()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with 1 MB of room."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this machine does not let even root mount a small disk")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


class Database:
    """A PostgreSQL of its own that can be ended in any way and started again."""

    def __init__(self, folder: Path, password: str | None = None) -> None:
        self._server = EmbeddedPostgres(folder)
        self._log = folder / "log"
        if password is not None:
            (folder / "password").write_text(password)
        self.start()
        migrate(self.url)

    @property
    def url(self) -> str:
        return self._server.url("postgres")

    @property
    def password(self) -> str:
        return self._server.password()

    @property
    def port(self) -> int:
        return self._server.port()

    def start(self) -> None:
        self._process = self._server.start(self._log)
        self._server.wait_until_ready(self._process)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """SIGINT is its fast shutdown, SIGQUIT the immediate one; SIGKILL hits all its processes at once."""
        if how is signal.SIGKILL:
            process = psutil.Process(self._process.pid)
            for each in [process, *process.children(recursive=True)]:
                each.kill()
        else:
            self._process.send_signal(how)
        self._process.wait(timeout=60)

    def is_running(self) -> bool:
        return self._process.poll() is None

    def stored(self) -> set[tuple[str, str]]:
        with psycopg.connect(self.url) as connection:
            return set(
                connection.execute(
                    "SELECT item_id, raw_value FROM telemetry_reading"
                    " JOIN telemetry_channel USING (channel_id) WHERE item_id <> ALL (%s)",
                    [[CLOCK_ITEM, "TIME_000002"]],
                ).fetchall()
            )

    def number(self, query: str) -> int:
        with psycopg.connect(self.url) as connection:
            row = connection.execute(query.encode()).fetchone()
        assert row is not None
        return int(row[0] or 0)

    def execute(self, statement: str) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(statement.encode())


class DaemonProcess:
    def __init__(self, folder: Path, server: str, database_url: str, *arguments: str) -> None:
        self._arguments = ["--server", server, "--spool", str(folder / "spool"), *arguments]
        self._database_url = database_url
        self._log = folder / "daemon.log"
        self.start()

    def start(self) -> None:
        self._told_before = self._log.stat().st_size if self._log.exists() else 0
        with self._log.open("ab") as sink:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "ingest_daemon", *self._arguments],
                env={**os.environ, "PEEBOT_DATABASE_URL": self._database_url}, stderr=sink,
            )  # fmt: skip

    def log(self) -> str:
        return self._log.read_text()

    def listens(self) -> bool:
        """Whether it has come so far since it was started last: before that a SIGTERM just kills it."""
        return b"subscribing" in self._log.read_bytes()[self._told_before :]

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def is_running(self) -> bool:
        return self._process.poll() is None

    def terminate(self) -> int:
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(timeout=60)

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """It stands still meanwhile, as in a machine that is moved."""
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def memory_mb(self) -> float:
        return float(psutil.Process(self._process.pid).memory_info().rss) / 1e6


class Station:
    """Publishes numbered readings of several items at a pace, and ticks; remembers when it sent which."""

    def __init__(self, simulator: ServerThread) -> None:
        self.sent: dict[tuple[str, str], datetime] = {}
        self.ticks = 0
        self._simulator = simulator
        self._number = 0

    def send(self, count: int = 1) -> None:
        now = datetime.now(UTC)
        updates = [clock_update(now)]
        self.ticks += 1
        for _ in range(count):
            self._number += 1
            item = ITEMS[self._number % len(ITEMS)]
            self.sent[item, str(self._number)] = now
            updates.append(Update(item, now, str(self._number)))
        self._simulator.call(lambda server: [server.publish(update) for update in updates])

    def send_until_heard(self, database: Database) -> None:
        """Until all items are subscribed; what came before does not count as sent."""
        deadline = time.monotonic() + 120
        while not database.stored() >= set(list(self.sent)[-len(ITEMS) :]) or not self.sent:
            assert time.monotonic() < deadline, "nobody listens"
            self.send(len(ITEMS))
            time.sleep(0.3)
        now = datetime.now(UTC)
        self.sent = dict.fromkeys(database.stored(), now)

    @contextmanager
    def sending(self, rate: float) -> Iterator[None]:
        """Send so many readings a second meanwhile."""
        stop = threading.Event()
        thread = threading.Thread(target=self._run, args=(rate, stop))
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def _run(self, rate: float, stop: threading.Event) -> None:
        began, sent = time.monotonic(), 0
        while not stop.wait(0.01):
            due = int((time.monotonic() - began) * rate) - sent
            if due:
                self.send(due)
                sent += due


@contextmanager
def database_in_a_folder(password: str | None = None) -> Iterator[Database]:
    with tempfile.TemporaryDirectory(prefix="peebot-pg-", ignore_cleanup_errors=True) as folder:
        database = Database(Path(folder), password)
        try:
            yield database
        finally:
            if database.is_running():
                database.stop()


@pytest.fixture
def breakable_database() -> Iterator[Database]:
    with database_in_a_folder() as database:
        yield database


@pytest.fixture
def second_database(breakable_database: Database) -> Iterator[Database]:
    """Another one, empty, with the same password."""
    with database_in_a_folder(breakable_database.password) as database:
        yield database


@pytest.fixture
def breakable_server() -> Iterator[ServerThread]:
    with ServerThread() as thread:
        yield thread


@pytest.fixture
def counting_station(breakable_server: ServerThread) -> Station:
    return Station(breakable_server)


@pytest.fixture
def start_daemon(tmp_path: Path) -> Iterator[Callable[..., DaemonProcess]]:
    started: list[DaemonProcess] = []

    def start(server: str, database_url: str, *arguments: str) -> DaemonProcess:
        started.append(DaemonProcess(tmp_path, server, database_url, *arguments))
        return started[-1]

    yield start
    for daemon in started:
        if daemon.is_running():
            daemon.kill()


@pytest.fixture(params=["official", "tlcp"])
def daemons(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[Callable[..., whole_daemon.DaemonProcess]]:
    started: list[whole_daemon.DaemonProcess] = []

    def start(server: str, database_url: str, *arguments: str) -> whole_daemon.DaemonProcess:
        feed = ("--feed", request.param)
        started.append(
            whole_daemon.DaemonProcess(server, database_url, tmp_path / "daemon.log", *feed, *arguments)
        )
        return started[-1]

    yield start
    for daemon in started:
        if daemon.process.poll() is None:
            daemon.kill()


@pytest.fixture
def observer(database_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection
