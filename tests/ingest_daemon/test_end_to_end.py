"""The daemon in its own process, with either feed; a server that misbehaves on request, a database."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from ingest_daemon.link import SILENCE_S
from iss_simulator.feed import Update
from iss_simulator.server import SimulatorServer
from iss_simulator.switchboard import Switchboard
from iss_simulator.thread import ServerThread
from peebot_local.embedded_postgres import EmbeddedPostgres
from sql.migrate import migrate
from tests.ingest_daemon.whole_daemon import (
    STATE,
    Station,
    one,
    stored,
    wait_until,
    wait_until_live,
)


@pytest.fixture
def simulator() -> Iterator[ServerThread]:
    with ServerThread() as thread:
        yield thread


@pytest.fixture
def station(simulator: ServerThread) -> Station:
    return Station(simulator)


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
