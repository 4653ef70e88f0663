"""More comes than the official client takes: memory is bounded, what is lost is counted, the link says it."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from ingest_daemon.passage import LIMIT_S

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
RATE = 12_000
"""Several times what the client takes."""
MEMORY_MB = 150
SLACK = timedelta(seconds=1.5)
"""The way from the sender to the client's socket, on a machine that has no time left."""
OVERFLOWS = "SELECT count(*) FROM rejected_reading WHERE reason = 'client_overflow'"


def wait_until(condition: Callable[[], object], timeout_s: float = 120.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)


def test_overload_of_the_official_client_is_bounded_counted_and_never_live(
    breakable_database: Any, breakable_server: Any, counting_station: Any, start_daemon: Any
) -> None:
    database, station = breakable_database, counting_station
    daemon = start_daemon(breakable_server.url, database.url, "--feed", "official")
    station.send_until_heard(database)
    memory_mb, most_mb = daemon.memory_mb(), 0.0
    with station.sending(RATE):
        until = time.monotonic() + 6 * LIMIT_S
        while time.monotonic() < until or database.number(OVERFLOWS) < 2:
            assert time.monotonic() < until + 120
            most_mb = max(most_mb, daemon.memory_mb())
            time.sleep(0.2)
    wait_until(lambda: set(list(station.sent)[-5:]) <= database.stored())
    assert daemon.terminate() == 0
    assert most_mb < memory_mb + MEMORY_MB
    stored = database.stored()
    missing = {key: ts for key, ts in station.sent.items() if key not in stored}
    with psycopg.connect(database.url) as connection:
        down = connection.execute(
            "SELECT started_at, ended_at FROM link_interval WHERE state = 'DOWN' ORDER BY started_at"
        ).fetchall()
        told = connection.execute(
            "SELECT sum((fields ->> 'count')::int) FROM rejected_reading WHERE reason = 'client_overflow'"
        ).fetchone()
    unexplained = [ts for ts in missing.values() if not any(a - SLACK <= ts <= b + SLACK for a, b in down)]
    assert not unexplained, f"{len(unexplained)} of {len(missing)}: {unexplained[:3]}, down: {down}"
    assert told is not None
    # What was sent while nobody was connected is missing, too, and nobody could count it.
    assert 0 < told[0] <= len(missing) + station.ticks
    assert "lines that were received since" in daemon.log()


def test_nothing_is_confirmed_that_still_waits_inside_the_client(
    breakable_database: Any, breakable_server: Any, counting_station: Any, start_daemon: Any
) -> None:
    database, station = breakable_database, counting_station
    daemon = start_daemon(breakable_server.url, database.url, "--feed", "official")
    station.send_until_heard(database)
    with station.sending(RATE):
        time.sleep(LIMIT_S - 1)
        daemon.kill()
    with psycopg.connect(database.url) as connection:
        ((state, seen_at),) = connection.execute(
            "SELECT state, last_seen_at FROM link_interval WHERE ended_at IS NULL"
        ).fetchall()
    assert state == "LIVE"
    stored = database.stored()
    lost = [ts for key, ts in station.sent.items() if key not in stored and ts < seen_at - SLACK]
    assert not lost, f"{len(lost)} before {seen_at}, as {lost[:3]}"


def test_a_recording_that_is_played_faster_than_the_client_takes_it_is_heard_to_its_end(
    breakable_database: Any, breakable_server: Any, counting_station: Any, start_daemon: Any
) -> None:
    database, station = breakable_database, counting_station
    replay = ("--source", "replay", "--clock", "feed", "--as-of", datetime.now(UTC).isoformat())
    daemon = start_daemon(breakable_server.url, database.url, "--feed", "official", *replay)
    station.send_until_heard(database)
    with station.sending(RATE):
        time.sleep(2 * LIMIT_S)
    wait_until(lambda: set(list(station.sent)[-5:]) <= database.stored(), 240.0)
    assert not set(station.sent) - database.stored()
    assert daemon.terminate() == 0


def test_what_waits_inside_the_client_when_the_daemon_is_ended_is_told_as_lost(
    breakable_database: Any, breakable_server: Any, counting_station: Any, start_daemon: Any
) -> None:
    database, station = breakable_database, counting_station
    daemon = start_daemon(breakable_server.url, database.url, "--feed", "official")
    station.send_until_heard(database)
    with station.sending(RATE):
        time.sleep(LIMIT_S - 1)
        daemon.terminate()
    assert database.number(OVERFLOWS) == 1
    with psycopg.connect(database.url) as connection:
        ((state, began),) = connection.execute(
            "SELECT state, started_at FROM link_interval WHERE ended_at IS NULL"
        ).fetchall()
    assert state == "DOWN"
    stored = database.stored()
    assert not [ts for key, ts in station.sent.items() if key not in stored and ts < began - SLACK]


def test_a_daemon_that_was_stopped_for_a_while_keeps_what_came_meanwhile(
    breakable_database: Any, breakable_server: Any, counting_station: Any, start_daemon: Any
) -> None:
    database, station = breakable_database, counting_station
    daemon = start_daemon(breakable_server.url, database.url, "--feed", "official")
    station.send_until_heard(database)
    with station.sending(70):
        time.sleep(1)
        with daemon.stopped():
            time.sleep(LIMIT_S + 3)
        wait_until(lambda: set(list(station.sent)[-50:-45]) <= database.stored())
    wait_until(lambda: set(list(station.sent)[-5:]) <= database.stored())
    assert database.number(OVERFLOWS) == 0
    assert not set(station.sent) - database.stored()
