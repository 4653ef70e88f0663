"""A recording that is played to a daemon in its own process, with either feed."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.ingest_daemon.whole_daemon import (
    LEVEL,
    stored,
    wait_until,
)


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
