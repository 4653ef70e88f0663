"""Real clients as child processes, and a server in a thread for them."""

from __future__ import annotations

import asyncio
import json
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from iss_simulator.feed import Update
from iss_simulator.server import SimulatorServer
from iss_simulator.switchboard import Switchboard
from iss_simulator.thread import ServerThread

CLIENTS = Path(__file__).parent / "clients"
LEVEL = "NODE3000005"
TIMEOUT_S = 20.0


class ChildClient:
    """A client that writes one JSON list per callback; `events` holds all that came so far."""

    def __init__(self, command: list[str]) -> None:
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._arrivals: queue.Queue[list[Any] | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.events: list[list[Any]] = []

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._arrivals.put(json.loads(line))
        self._arrivals.put(None)

    def wait_for(self, matches: Callable[[list[Any]], bool]) -> list[Any]:
        """The next event that matches; those before it are kept in `events`."""
        deadline = time.monotonic() + TIMEOUT_S
        while True:
            try:
                event = self._arrivals.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                pytest.fail(f"not within {TIMEOUT_S} s; got {self.events[-20:]}")
            if event is None:
                pytest.fail(f"the client has ended; got {self.events[-20:]}")
            self.events.append(event)
            if matches(event):
                return event

    def wait_for_value(self, value: int, item: str = LEVEL) -> None:
        self.wait_for(lambda event: event[:2] == ["update", item] and event[3][1] == str(value))

    def wait_for_status(self, status: str) -> None:
        self.wait_for(lambda event: event == ["status", status])

    def values(self, item: str = LEVEL) -> list[int]:
        return [int(event[3][1]) for event in self.events if event[:2] == ["update", item]]

    def snapshots(self, item: str = LEVEL) -> list[int]:
        """The values that came as a snapshot."""
        return [int(event[3][1]) for event in self.events if event[:3] == ["update", item, True]]

    def names(self) -> list[str]:
        """The callbacks in order, without updates."""
        return [
            event[1] if event[0] == "status" else event[0] for event in self.events if event[0] != "update"
        ]

    def say(self, command: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


class Counter:
    """Publishes 0, 1, 2, … as the level, each with its own event time."""

    def __init__(self, simulator: ServerThread) -> None:
        self._simulator = simulator
        self.value = -1

    def count_to(self, last: int) -> None:
        """Publish up to `last` at about 1000 updates a second."""
        while self.value < last:
            first, self.value = self.value + 1, min(last, self.value + 5)
            self._simulator.call(lambda server, first=first: self._publish(server, first))
            time.sleep(0.005)

    def _publish(self, server: SimulatorServer, first: int) -> None:
        for value in range(first, self.value + 1):
            ts = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=value)
            server.publish(Update(LEVEL, ts, str(value)))


@pytest.fixture
def simulator() -> Iterator[ServerThread]:
    with ServerThread(lambda: SimulatorServer(switchboard=Switchboard(keepalive_s=0.5))) as simulator:
        yield simulator


@pytest.fixture
def counter(simulator: ServerThread) -> Counter:
    return Counter(simulator)


@pytest.fixture
def run_client() -> Iterator[Callable[[list[str]], ChildClient]]:
    running: list[ChildClient] = []

    def run(command: list[str]) -> ChildClient:
        running.append(ChildClient(command))
        return running[-1]

    yield run
    for client in running:
        client.kill()


@pytest.fixture
def official_client(
    simulator: ServerThread, run_client: Callable[[list[str]], ChildClient]
) -> Callable[..., ChildClient]:
    def run(transport: str = "ANY", items: str = LEVEL) -> ChildClient:
        return run_client([sys.executable, str(CLIENTS / "official.py"), simulator.url, transport, items])

    return run


@pytest.fixture
def wait_until_unbound(simulator: ServerThread) -> Callable[[], None]:
    """Waits until no connection carries a session any more."""

    async def unbound(server: SimulatorServer) -> None:
        changed = server.switchboard.session_changed
        async with asyncio.timeout(TIMEOUT_S):
            while server.faults.stats()["bound"]:
                changed.clear()
                await changed.wait()

    return lambda: simulator.wait_for(unbound)
