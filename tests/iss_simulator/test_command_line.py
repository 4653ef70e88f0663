"""`python -m iss_simulator` as others call it: one line of JSON when ready, SIGTERM ends it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import ChildClient

OFFICIAL_CLIENT = str(Path(__file__).parent / "clients" / "official.py")
Run = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def run() -> Iterator[Run]:
    processes: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "iss_simulator", *arguments]
        processes.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def ready_url(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, process.stderr.read() if process.stderr else ""
    return str(json.loads(line)["url"])


def test_a_station_has_a_snapshot_a_clock_and_a_truth_about_its_past(
    run: Run, run_client: Callable[[list[str]], ChildClient], tmp_path: Path
) -> None:
    truth = tmp_path / "truth.jsonl"
    since = datetime.now(UTC) - timedelta(days=2)
    process = run("station", "--seed", "4", "--since", since.isoformat(), "--truth", str(truth))
    client = run_client(
        [sys.executable, OFFICIAL_CLIENT, ready_url(process), "ANY", "NODE3000005,NODE3000004,TIME_000001"]
    )
    client.wait_for(lambda event: event[:2] == ["update", "NODE3000004"] and event[2])
    client.wait_for(lambda event: event[:3] == ["update", "TIME_000001", False] and event[3][2] == "24")
    assert {json.loads(line)["kind"] for line in truth.read_text().splitlines()} >= {"visit", "los"}
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=10) == 0


def test_a_recording_is_played_to_its_end(
    run: Run, run_client: Callable[[list[str]], ChildClient], tmp_path: Path
) -> None:
    rows = "".join(f"2025-01-01T00:{n // 60:02}:{n % 60:02}Z,{n}\n" for n in range(1000))
    (tmp_path / "level.csv").write_text("ts_utc,value\n" + rows)
    options = ("--item", "NODE3000005", "--speed", "5000", "--exit-when-finished")
    process = run("recording", str(tmp_path / "level.csv"), *options)
    client = run_client(
        [sys.executable, OFFICIAL_CLIENT, ready_url(process), "ANY", "NODE3000005,TIME_000001"]
    )
    client.wait_for_value(999)
    assert client.values() == list(range(1000))
    assert process.stdout is not None
    assert json.loads(process.stdout.readline()) == {"finished": True}
    assert process.wait(timeout=10) == 0


def test_a_wrong_file_is_refused_in_one_line(run: Run, tmp_path: Path) -> None:
    (tmp_path / "level.csv").write_text("ts_utc,value\n2025-01-01T00:00:00Z,1\n")
    process = run("recording", str(tmp_path / "level.csv"))
    _, error = process.communicate(timeout=10)
    assert process.returncode == 2
    assert error.count("\n") == 1
    assert "--item" in error


@pytest.mark.slow
def test_a_port_in_use_is_refused_in_one_line(run: Run) -> None:
    url = ready_url(run("station"))
    assert url.startswith("http://127.0.0.1:")
    port = url.rsplit(":", 1)[1]
    process = run("station", "--port", port)
    _, error = process.communicate(timeout=20)
    assert process.returncode == 2
    assert error.count("\n") == 1
    assert port in error
