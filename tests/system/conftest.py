"""A whole PeeBot as a user starts it: a process of its own on a home of its own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from peebot_local.embedded_postgres import free_port

COMMAND = [sys.executable, "-P", "-m", "peebot_local"]


@dataclass
class Peebot:
    """The command line on one home."""

    home: Path
    environment: dict[str, str]
    lines: list[str] = field(default_factory=list)
    process: subprocess.Popen[str] | None = None

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*COMMAND, *arguments], text=True, capture_output=True, env=self.environment, check=False
        )

    def start(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [*COMMAND, *arguments],
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=self.environment,
        )
        threading.Thread(target=self._read, args=(self.process,), daemon=True).start()

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self.lines.append(line.rstrip())

    def wait_for(self, condition: Callable[[], Any], timeout_s: float) -> Any:
        """The first true answer; the output so far when it does not come in time."""
        deadline = time.monotonic() + timeout_s
        while not (answer := condition()):
            assert self.process is not None
            ended = self.process.poll() is not None
            assert not ended, "it has ended:\n" + "\n".join(self.lines)
            assert time.monotonic() < deadline, "not in time:\n" + "\n".join(self.lines)
            time.sleep(0.1)
        return answer

    def wait_for_line(self, text: str, timeout_s: float) -> str:
        return str(
            self.wait_for(lambda: next((line for line in self.lines if text in line), None), timeout_s)
        )

    def status(self) -> dict[str, Any]:
        result = self.run("status", "--json")
        assert result.returncode == 0, result.stderr
        status: dict[str, Any] = json.loads(result.stdout)
        return status

    def child(self, name: str, home: Path | None = None) -> int:
        """The pid of one of its processes."""
        return int(
            next(record["identity"]["pid"] for record in self.children(home) if record["name"] == name)
        )

    def children(self, home: Path | None = None) -> list[dict[str, Any]]:
        """What the runner has noted of its processes."""
        records: list[dict[str, Any]] = json.loads(((home or self.home) / "children.json").read_text())
        return records

    def processes(self) -> list[psutil.Process]:
        """All processes that belong to this home."""
        found = []
        for process in psutil.process_iter():
            try:
                environment, command = process.environ(), " ".join(process.cmdline())
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
            mine = str(self.home) in environment.get("PEEBOT_RUNNER_HOME", "") or str(self.home) in command
            if mine and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        return found

    def stop(self, number: signal.Signals) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(timeout=60)


@pytest.fixture
def peebot() -> Iterator[Peebot]:
    # Not below pytest's own folder, which each new session of pytest closes to PostgreSQL's user.
    folder = Path(tempfile.mkdtemp(prefix="peebot-system-"))
    home = folder / "home"
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PEEBOT_", "DAGSTER_"))}
    bot = Peebot(
        home,
        {
            **kept,
            "PEEBOT_HOME": str(home),
            "PEEBOT_UI_PORT": str(free_port()),
            "PEEBOT_LIVE_PORT": str(free_port()),
        },
    )
    yield bot
    if bot.process is not None and bot.process.poll() is None:
        bot.stop(signal.SIGTERM)
    for process in bot.processes():
        process.kill()
    shutil.rmtree(folder)
