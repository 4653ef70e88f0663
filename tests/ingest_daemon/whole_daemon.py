"""A daemon in its own process, what it is sent, and what it has stored."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import psycopg

from iss_simulator.feed import Update, clock_update
from iss_simulator.thread import ServerThread

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
