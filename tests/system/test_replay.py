"""A recording through the whole live path, while what carries it is killed."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from iss_simulator.station import Station
from iss_simulator.urine_tank import LEVEL_ITEM, STATE_ITEM
from peebot_local.embedded_postgres import free_port
from peebot_local.home import Home

if TYPE_CHECKING:
    from tests.system.conftest import Peebot

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SINCE = datetime(2026, 3, 1, tzinfo=UTC)
SPAN = timedelta(days=4)
SPEED = 20_000.0
QUIET = timedelta(minutes=20)

Row = tuple[datetime, str, float]


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Row]]:
    """Four days of a simulated tank and its processor, which end in a quiet time."""
    station = Station(seed=11, since=SINCE)
    updates = list(station.updates(SINCE + SPAN, {LEVEL_ITEM, STATE_ITEM}))
    levels = [update for update in updates if update.item == LEVEL_ITEM]
    last = next(
        after.ts
        for before, after in reversed(list(pairwise(levels)))
        if after.ts - before.ts > QUIET and int(after.value) < int(before.value)
    )
    updates = [update for update in updates if update.ts <= last]
    path = tmp_path_factory.mktemp("recording") / "tank.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["ts_utc", "item", "value"])
        writer.writerows((update.ts.isoformat(), update.item, update.value) for update in updates)
    return path, [(update.ts, update.item, float(update.value)) for update in updates]


@pytest.fixture
def up(peebot: Peebot) -> Peebot:
    """`peebot up` with a feed that nobody can reach."""
    peebot.environment["PEEBOT_FEED_URL"] = f"http://127.0.0.1:{free_port()}"
    peebot.start("up")
    peebot.wait_for_line("The Dagster UI: ", 180)
    return peebot


def stored_rows(database_url: str) -> list[Row]:
    with psycopg.connect(database_url) as connection:
        return connection.execute(
            "SELECT ts, item_id, value FROM telemetry_reading JOIN telemetry_channel USING (channel_id)"
            " WHERE item_id IN (%s, %s) ORDER BY ts, item_id",
            (LEVEL_ITEM, STATE_ITEM),
        ).fetchall()


def stored_events(database_url: str) -> list[tuple[str, str, str, str]]:
    with psycopg.connect(database_url) as connection:
        return [
            (str(event_id), event_type, started_at.astimezone(UTC).isoformat(), state)
            for event_id, event_type, started_at, state in connection.execute(
                "SELECT event_id, event_type, started_at, state FROM detected_event"
                " WHERE detector = 'urine_tank' AND state <> 'retracted' ORDER BY started_at"
            )
        ]


def test_readings_and_events_of_a_replay_survive_three_kills_each_of_daemon_and_database(
    up: Peebot, recording: tuple[Path, list[Row]]
) -> None:
    path, rows = recording
    database_url = Home(up.home).postgres.url("peebot")
    assert up.status()["feed"] == "DOWN"
    replay = subprocess.Popen(
        [sys.executable, "-P", "-m", "peebot_local", "replay", str(path), "--speed", str(SPEED)],
        env=up.environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        for number in range(6):
            # Each blow falls when work goes on again.
            stored = number_stored(database_url) or 0
            up.wait_for(partial(more_is_stored, database_url, stored), 90)
            if number % 2:
                os.kill(up.child("postgres"), signal.SIGKILL)
            else:
                os.kill(up.child("ingest", up.home / "replay"), signal.SIGKILL)
        assert replay.poll() is None
        output, _ = replay.communicate(timeout=240)
    finally:
        if replay.poll() is None:
            replay.terminate()
            replay.wait(timeout=60)
    assert replay.returncode == 0, output

    stored = stored_rows(database_url)
    assert len(stored) == len(rows)
    for (ts, *reading), (expected_ts, *expected_reading) in zip(stored, sorted(rows), strict=True):
        assert reading == expected_reading
        assert abs(ts - expected_ts) <= timedelta(milliseconds=1)

    by_hand = up.run("detect", "urine_tank", "--from-csv", str(path), "--json")
    expected = sorted(
        (
            (event["event_id"], event["event_type"], event["started_at"], event["state"])
            for event in json.loads(by_hand.stdout)
        ),
        key=lambda event: event[2],
    )
    assert len(expected) > 60
    deadline = time.monotonic() + 120
    while stored_events(database_url) != expected and time.monotonic() < deadline:
        time.sleep(1.0)
    assert stored_events(database_url) == expected
    assert up.process is not None
    assert up.process.poll() is None, "\n".join(up.lines)
    assert up.stop(signal.SIGTERM) == 0
    assert up.processes() == []


def more_is_stored(database_url: str, before: int) -> bool:
    return (number_stored(database_url) or 0) > before


def number_stored(database_url: str) -> int | None:
    """How many readings are stored; None while the database is away."""
    try:
        with psycopg.connect(database_url, connect_timeout=2) as connection:
            row = connection.execute("SELECT count(*) FROM telemetry_reading").fetchone()
    except psycopg.OperationalError:
        return None
    return row[0] if row else None


def test_a_replay_into_nothing_says_what_to_start(peebot: Peebot, recording: tuple[Path, list[Row]]) -> None:
    result = peebot.run("replay", str(recording[0]))
    assert result.returncode == 1
    assert result.stderr.startswith("peebot: nothing runs on ")
    assert result.stderr.count("\n") == 1
