"""The daemon in its own process, with either feed; a server that misbehaves on request, a database."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from ingest_daemon.link import SILENCE_S
from iss_simulator.feed import Update, clock_update
from iss_simulator.server import SimulatorServer
from iss_simulator.switchboard import Switchboard
from iss_simulator.thread import ServerThread
from peebot_local.embedded_postgres import EmbeddedPostgres
from sql.migrate import migrate

LEVEL = "NODE3000005"
STATE = "SELECT state FROM link_interval WHERE ended_at IS NULL"
STORED = (
    "SELECT raw_value FROM telemetry_reading JOIN telemetry_channel USING (channel_id)"
    " WHERE item_id = %s ORDER BY raw_value::int"
)


class DaemonProcess:
    def __init__(self, server: str, database_url: str, log: Path, *arguments: str) -> None:
        self._log = log
        with log.open("ab") as sink:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "ingest_daemon", "--server", server, *arguments],
                env={**os.environ, "PEEBOT_DATABASE_URL": database_url},
                stderr=sink,
            )

    def log(self) -> str:
        return self._log.read_text()

    def terminate(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=60)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


class Station:
    """Publishes readings of the tank and ticks of the clock, and remembers the tank's."""

    def __init__(self, simulator: ServerThread) -> None:
        self.sent: list[str] = []
        self.ticked_at = datetime.now(UTC)
        self._numbers = count()
        self._simulator = simulator
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def send(self, readings: int = 1) -> None:
        for _ in range(readings):
            self.sent.append(str(next(self._numbers)))
            self._publish(Update(LEVEL, datetime.now(UTC), self.sent[-1]))

    def tick(self) -> None:
        self.ticked_at = datetime.now(UTC)
        self._publish(clock_update(self.ticked_at))

    @contextmanager
    def sending(self) -> Iterator[None]:
        """Send about 100 readings and ticks a second meanwhile."""
        self._stop.clear()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        try:
            yield
        finally:
            self._stop.set()
            self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(0.01):
            self.send()
            self.tick()

    def _publish(self, update: Update) -> None:
        self._simulator.call(lambda server: server.publish(update))


@pytest.fixture
def simulator() -> Iterator[ServerThread]:
    with ServerThread() as thread:
        yield thread


@pytest.fixture
def station(simulator: ServerThread) -> Station:
    return Station(simulator)


@pytest.fixture(params=["official", "tlcp"])
def daemons(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., DaemonProcess]]:
    started: list[DaemonProcess] = []

    def start(server: str, database_url: str, *arguments: str) -> DaemonProcess:
        feed = ("--feed", request.param)
        started.append(DaemonProcess(server, database_url, tmp_path / "daemon.log", *feed, *arguments))
        return started[-1]

    yield start
    for daemon in started:
        if daemon.process.poll() is None:
            daemon.kill()


@pytest.fixture
def observer(database_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


def wait_until(condition: Callable[[], object], timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def one(connection: psycopg.Connection, query: Any, *parameters: object) -> Any:
    row = connection.execute(query, parameters).fetchone()
    return None if row is None else row[0]


def stored(connection: psycopg.Connection) -> list[str]:
    return [value for (value,) in connection.execute(STORED, [LEVEL]).fetchall()]


def wait_until_live(station: Station, connection: psycopg.Connection) -> None:
    """Wait until clock and level are heard; what nobody had subscribed yet does not count as sent."""

    def is_live() -> bool:
        station.tick()
        station.send()
        return one(connection, STATE) == "LIVE" and len(stored(connection)) > before

    before = len(stored(connection))
    wait_until(is_live)
    wait_until(lambda: stored(connection)[-1] == station.sent[-1])
    station.sent = stored(connection)


def test_everything_sent_is_stored_once_and_a_clean_stop_loses_nothing(
    simulator: ServerThread, station: Station, daemons: Any, database_url: str, observer: psycopg.Connection
) -> None:
    daemon = daemons(simulator.url, database_url)
    wait_until_live(station, observer)
    station.send(500)
    wait_until(lambda: len(stored(observer)) >= len(station.sent))
    assert stored(observer) == station.sent
    assert one(observer, "SELECT sum(readings) FROM telemetry_revision") == one(
        observer, "SELECT count(*) FROM telemetry_reading"
    )
    assert daemon.terminate() == 0
    assert database_url.split(":")[2].split("@")[0] not in daemon.log()


def test_a_reconnect_snapshot_is_stored_once(
    simulator: ServerThread, station: Station, daemons: Any, database_url: str, observer: psycopg.Connection
) -> None:
    daemons(simulator.url, database_url)
    wait_until_live(station, observer)
    before = station.sent
    simulator.call(lambda server: server.faults.end(48))
    # The session is gone, and the new one begins with the level as it was.
    wait_until(lambda: one(observer, "SELECT count(*) FROM link_interval WHERE state = 'DOWN'"))
    wait_until_live(station, observer)
    assert station.sent[: len(before)] == before
    assert len(set(station.sent)) == len(station.sent)


def test_an_error_that_the_client_gives_up_on_is_overcome(
    simulator: ServerThread, station: Station, daemons: Any, database_url: str, observer: psycopg.Connection
) -> None:
    daemon = daemons(simulator.url, database_url)
    wait_until_live(station, observer)
    simulator.call(lambda server: server.faults.raw("U,1,1"))
    # It may be over before anyone looks: our own reader is back within milliseconds.
    wait_until(lambda: one(observer, "SELECT count(*) FROM link_interval WHERE state = 'DOWN'"))
    wait_until_live(station, observer)
    station.send(5)
    wait_until(lambda: stored(observer) == station.sent)
    assert "has ended: " in daemon.log()


@pytest.mark.slow
def test_a_server_out_of_reach_is_down_and_tried_until_it_is_there(
    daemons: Any, database_url: str, observer: psycopg.Connection, postgres_server: EmbeddedPostgres
) -> None:
    with ServerThread() as gone:
        address = gone.url
    daemon = daemons(address, database_url)
    wait_until(lambda: one(observer, STATE) == "DOWN")
    first = one(observer, "SELECT last_seen_at FROM link_interval")
    wait_until(lambda: one(observer, "SELECT last_seen_at FROM link_interval") > first)
    assert daemon.terminate() == 0


def test_a_daemon_started_without_a_database_says_so_and_stops_when_asked(
    simulator: ServerThread, daemons: Any
) -> None:
    daemon = daemons(simulator.url, "postgresql://peebot:s3cret@127.0.0.1:1/peebot")
    wait_until(lambda: "database away" in daemon.log())
    assert "s3cret" not in daemon.log()
    assert daemon.terminate() == 0


def test_a_wrong_setting_is_one_line_and_exit_code_2() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "ingest_daemon", "--server", "nowhere"],
        env={**os.environ, "PEEBOT_DATABASE_URL": "postgresql:///x"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1


@pytest.mark.slow
def test_cuts_of_the_connection_lose_nothing_and_leave_no_trace_in_the_link(
    simulator: ServerThread, station: Station, daemons: Any, database_url: str, observer: psycopg.Connection
) -> None:
    daemons(simulator.url, database_url)
    wait_until_live(station, observer)
    with station.sending():
        for _ in range(3):
            time.sleep(0.5)
            simulator.call(lambda server: server.faults.drop())
            before = len(stored(observer))
            wait_until(lambda: len(stored(observer)) > before + 50)  # noqa: B023
    wait_until(lambda: len(stored(observer)) >= len(station.sent))
    assert stored(observer) == station.sent
    assert observer.execute("SELECT state, ended_at FROM link_interval").fetchall() == [("LIVE", None)]


@pytest.mark.slow
def test_a_daemon_that_is_stalled_confirms_nothing_and_goes_on_where_it_was(
    simulator: ServerThread, station: Station, daemons: Any, database_url: str, observer: psycopg.Connection
) -> None:
    seen = "SELECT max(last_seen_at) FROM link_interval"
    works = (
        "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND pid <> pg_backend_pid()"
        " AND datname = current_database()"
    )
    daemon = daemons(simulator.url, database_url)
    wait_until_live(station, observer)
    daemon.process.send_signal(signal.SIGSTOP)
    try:
        wait_until(lambda: psutil.Process(daemon.process.pid).status() == psutil.STATUS_STOPPED)
        # What it has asked for last, it may still get.
        wait_until(lambda: one(observer, works) == 0)
        stalled_at = one(observer, seen)
        station.send(20)
        time.sleep(2)
        assert one(observer, seen) == stalled_at
    finally:
        daemon.process.send_signal(signal.SIGCONT)
    wait_until(lambda: len(stored(observer)) >= len(station.sent))
    wait_until(lambda: one(observer, seen) > stalled_at)
    assert stored(observer) == station.sent


@pytest.mark.slow
def test_a_server_that_comes_up_late_is_found(
    daemons: Any, database_url: str, observer: psycopg.Connection
) -> None:
    with ServerThread() as gone:
        port = int(gone.url.rsplit(":", 1)[1])
    daemons(f"http://127.0.0.1:{port}", database_url)
    wait_until(lambda: one(observer, STATE) == "DOWN")
    with ServerThread(lambda: SimulatorServer(port)) as simulator:
        wait_until_live(Station(simulator), observer)
    states = [state for (state,) in observer.execute("SELECT state FROM link_interval ORDER BY started_at")]
    assert states[0] == "DOWN"


@pytest.mark.slow
@pytest.mark.parametrize("daemons", ["tlcp"], indirect=True)
def test_silence_of_the_clock_is_loss_of_signal(
    simulator: ServerThread, station: Station, daemons: Any, database_url: str, observer: psycopg.Connection
) -> None:
    daemons(simulator.url, database_url)
    wait_until_live(station, observer)
    wait_until(lambda: one(observer, STATE) == "LOS")
    noticed = datetime.now(UTC)
    started_at = one(observer, "SELECT started_at FROM link_interval WHERE ended_at IS NULL")
    # Lost since the last tick arrived, not since that was noticed.
    assert station.ticked_at <= started_at <= noticed - timedelta(seconds=SILENCE_S - 1)


@pytest.mark.slow
def test_a_database_that_restarts_misses_nothing(
    simulator: ServerThread, station: Station, daemons: Any
) -> None:
    with tempfile.TemporaryDirectory(prefix="peebot-pg-", ignore_cleanup_errors=True) as folder:
        server = EmbeddedPostgres(Path(folder))
        log = Path(folder) / "log"
        process = server.start(log)
        try:
            server.wait_until_ready(process)
            url = server.url("postgres")
            migrate(url)
            daemon = daemons(simulator.url, url)
            with psycopg.connect(url, autocommit=True) as connection:
                wait_until_live(station, connection)
            with station.sending():
                for stop_signal in (signal.SIGINT, signal.SIGQUIT):
                    time.sleep(1)
                    process.send_signal(stop_signal)
                    process.wait(timeout=60)
                    time.sleep(1)
                    process = server.start(log)
                    server.wait_until_ready(process)
                time.sleep(1)
            with psycopg.connect(url, autocommit=True) as connection:
                wait_until(lambda: len(stored(connection)) >= len(station.sent))
                assert stored(connection) == station.sent
                # The daemon has listened all the time.
                assert one(connection, "SELECT count(*) FROM link_interval WHERE state = 'LIVE'") == 1
            wait_until(lambda: "the database is back" in daemon.log())
            assert daemon.terminate() == 0
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=60)


@contextmanager
def playing(recording: Path, speed: int) -> Iterator[tuple[str, threading.Event]]:
    """A simulator that plays the recording: its address, and an event that is set when all was played."""
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "iss_simulator",
            "recording",
            str(recording),
            "--port",
            "0",
            "--item",
            LEVEL,
            "--speed",
            str(speed),
            "--rewind",
            "5",
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        address = json.loads(process.stdout.readline())["url"]
        finished = threading.Event()
        output = process.stdout

        def watch() -> None:
            if "finished" in output.readline():
                finished.set()

        threading.Thread(target=watch, daemon=True).start()
        yield address, finished
    finally:
        process.terminate()
        process.wait(timeout=60)


@pytest.mark.slow
def test_a_replay_with_a_daemon_that_is_killed_three_times_stores_every_reading_once(
    daemons: Any, database_url: str, observer: psycopg.Connection, tmp_path: Path
) -> None:
    start = datetime(2024, 12, 31, 20, tzinfo=UTC)
    rows = [(start + timedelta(seconds=11 * step), str(step % 75)) for step in range(3000)]
    recording = tmp_path / "level.csv"
    lines = ["ts_utc,value", *(f"{ts:%Y-%m-%dT%H:%M:%SZ},{value}" for ts, value in rows)]
    recording.write_text("\n".join(lines))
    replay = ("--source", "replay", "--clock", "feed", "--as-of", "2025-02-01")
    # 9 hours of station time in about 14 s.
    with playing(recording, speed=2400) as (address, finished):
        for _ in range(3):
            before = len(stored(observer))
            daemon = daemons(address, database_url, *replay)
            wait_until(lambda: len(stored(observer)) > before + 200)  # noqa: B023
            daemon.kill()
        daemon = daemons(address, database_url, *replay)
        assert finished.wait(180)
        wait_until(lambda: len(stored(observer)) >= len(rows))
        assert daemon.terminate() == 0
    found = observer.execute(
        "SELECT ts, raw_value FROM telemetry_reading JOIN telemetry_channel USING (channel_id)"
        " WHERE item_id = %s ORDER BY ts",
        [LEVEL],
    ).fetchall()
    assert found == rows
    live = observer.execute("SELECT started_at FROM link_interval WHERE state = 'LIVE'").fetchall()
    assert len(live) == 1
    assert live[0][0] - start < timedelta(hours=1)


@pytest.mark.slow
def test_an_item_that_the_server_does_not_know_silences_no_other(
    daemons: Any, database_url: str, observer: psycopg.Connection
) -> None:
    rows = observer.execute("SELECT item_id FROM telemetry_channel").fetchall()
    known = [item for (item,) in rows if item != "NODE3000006"]
    with ServerThread(lambda: SimulatorServer(switchboard=Switchboard(known))) as simulator:
        daemon = daemons(simulator.url, database_url)
        wait_until_live(Station(simulator), observer)
        wait_until(lambda: "the server refuses item NODE3000006" in daemon.log())
        now = datetime.now(UTC)
        for item in known:
            update = Update(item, now, "1")
            simulator.call(lambda server: server.publish(update))  # noqa: B023
        heard = "SELECT count(DISTINCT channel_id) FROM telemetry_reading"
        wait_until(lambda: one(observer, heard) == len(known))
