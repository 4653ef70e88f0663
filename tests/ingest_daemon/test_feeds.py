"""Both feeds, kept open as the daemon does it, against a server that misbehaves: the same promises hold."""

from __future__ import annotations

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

CLIENT = Path(__file__).parent / "clients" / "feed.py"
LEVEL = "NODE3000005"
CLOCK = "TIME_000001"
TIMEOUT_S = 60.0

# The official client notices nothing but silence, which takes it 4 s.
BOTH = pytest.mark.parametrize("name", ["tlcp", pytest.param("official", marks=pytest.mark.slow)])


class FeedProcess:
    """A feed in its own process; `events` holds all that it has told so far."""

    def __init__(self, name: str, url: str, items: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(CLIENT), name, url, items],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self._arrivals: queue.Queue[list[Any]] = queue.Queue()
        self.events: list[list[Any]] = []
        self.complaints: list[str] = []
        for read in (self._read_events, self._read_complaints):
            threading.Thread(target=read, daemon=True).start()

    def wait_for(self, matches: Callable[[list[Any]], bool]) -> list[Any]:
        deadline = time.monotonic() + TIMEOUT_S
        while True:
            try:
                event = self._arrivals.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                pytest.fail(f"not within {TIMEOUT_S} s; got {self.events[-20:]} {self.complaints[-5:]}")
            self.events.append(event)
            if matches(event):
                return event

    def wait_for_value(self, value: int, item: str = LEVEL) -> None:
        self.wait_for(lambda event: event[:2] == ["update", item] and event[3][1] == str(value))

    def wait_for_event(self, *event: object) -> None:
        self.wait_for(lambda found: found == list(event))

    def wait_for_complaint(self, text: str) -> None:
        deadline = time.monotonic() + TIMEOUT_S
        while not any(text in complaint for complaint in self.complaints):
            assert time.monotonic() < deadline, self.complaints
            time.sleep(0.02)

    def values(self, item: str = LEVEL) -> list[int]:
        return [int(event[3][1]) for event in self.events if event[:2] == ["update", item]]

    def snapshots(self) -> list[int]:
        return [int(event[3][1]) for event in self.events if event[:3] == ["update", LEVEL, True]]

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self.wait_for_event("closed")

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def _read_events(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._arrivals.put(json.loads(line))

    def _read_complaints(self) -> None:
        assert self._process.stderr is not None
        self.complaints.extend(self._process.stderr)


class Counter:
    """Publishes 0, 1, 2, … as the level, each with its own event time."""

    def __init__(self, simulator: ServerThread) -> None:
        self._simulator = simulator
        self.value = -1

    def count_to(self, last: int) -> None:
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
    with ServerThread() as simulator:
        yield simulator


@pytest.fixture
def counter(simulator: ServerThread) -> Counter:
    return Counter(simulator)


@pytest.fixture
def open_feed() -> Iterator[Callable[..., FeedProcess]]:
    running: list[FeedProcess] = []

    def start(name: str, url: str, items: str = f"{CLOCK},{LEVEL}") -> FeedProcess:
        running.append(FeedProcess(name, url, items))
        return running[-1]

    yield start
    for feed in running:
        feed.kill()


@pytest.fixture
def connected(name: str, simulator: ServerThread, counter: Counter, open_feed: Any) -> FeedProcess:
    """A feed that has received 0 … 20."""
    counter.count_to(0)
    feed: FeedProcess = open_feed(name, simulator.url)
    feed.wait_for_value(0)
    counter.count_to(20)
    feed.wait_for_value(20)
    return feed


def cut(simulator: ServerThread, fault: str) -> None:
    if fault == "close":
        simulator.wait_for(lambda server: server.faults.close())
    else:
        simulator.call(lambda server: getattr(server.faults, fault)())


@pytest.mark.parametrize("name", ["tlcp", "official"])
def test_the_snapshot_and_every_update_arrive_as_they_were_sent(
    name: str, connected: FeedProcess, counter: Counter
) -> None:
    counter.count_to(500)
    connected.wait_for_value(500)
    assert connected.values() == list(range(501))
    assert connected.snapshots() == [0]
    assert connected.events[-1][3] == ["24.13888888889", "500", "24", "", None, "500"]
    connected.close()
    assert "session_lost" not in [event[0] for event in connected.events]


@BOTH
@pytest.mark.parametrize("fault", ["drop", "close", "loop"])
def test_a_cut_or_moved_connection_is_recovered_exactly(
    name: str, fault: str, simulator: ServerThread, connected: FeedProcess, counter: Counter
) -> None:
    for last in (150, 300):
        cut(simulator, fault)
        counter.count_to(last)
        connected.wait_for_value(last)
    assert connected.values() == list(range(301))
    assert connected.snapshots() == [0]
    assert "session_lost" not in [event[0] for event in connected.events]


@BOTH
def test_a_forgotten_session_is_told_and_comes_back_with_a_snapshot(
    name: str, simulator: ServerThread, connected: FeedProcess, counter: Counter
) -> None:
    cut(simulator, "forget")
    counter.count_to(30)
    connected.wait_for_event("session_lost")
    connected.wait_for(lambda event: event[:3] == ["update", LEVEL, True] and event[3][1] == "30")
    counter.count_to(60)
    connected.wait_for_value(60)
    assert connected.values()[-31:] == list(range(30, 61))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tlcp", "official"])
def test_a_silent_server_is_left_and_found_again_without_loss(
    name: str, simulator: ServerThread, connected: FeedProcess, counter: Counter
) -> None:
    cut(simulator, "hold")
    counter.count_to(60)
    connected.wait_for_event("connection", "disconnected")
    cut(simulator, "resume")
    connected.wait_for_value(60)
    assert connected.values() == list(range(61))


@BOTH
@pytest.mark.parametrize("code", [32, 48])
def test_an_ended_session_is_followed_by_a_new_one(
    name: str, code: int, simulator: ServerThread, connected: FeedProcess, counter: Counter
) -> None:
    simulator.call(lambda server: server.faults.end(code))
    connected.wait_for(lambda event: event[:3] == ["update", LEVEL, True])
    counter.count_to(25)
    connected.wait_for_value(25)
    assert connected.snapshots() == [0, 20]


@BOTH
@pytest.mark.parametrize("line", ["U,1,1", "U,1,99,1|2|3|4|5|6", "U,1,1,^P[]|^5"])
def test_a_line_that_cannot_be_read_costs_the_session_and_no_more(
    name: str, line: str, simulator: ServerThread, connected: FeedProcess, counter: Counter
) -> None:
    simulator.call(lambda server: server.faults.raw(line))
    connected.wait_for(lambda event: event[:3] == ["update", LEVEL, True])
    counter.count_to(25)
    connected.wait_for_value(25)
    assert [event[1] for event in connected.events if event[0] == "rejected"] == ["protocol_error"]


@BOTH
def test_of_a_field_that_is_too_long_only_the_beginning_is_kept(
    name: str, simulator: ServerThread, connected: FeedProcess
) -> None:
    update = Update(LEVEL, datetime.now(UTC), "x" * 3000)
    simulator.call(lambda server: server.publish(update))
    event = connected.wait_for(lambda event: event[0] == "update" and event[3][1].startswith("x"))
    assert event[3][1] == "x" * 1001


@BOTH
def test_a_refused_session_is_tried_until_it_is_accepted(
    name: str, simulator: ServerThread, counter: Counter, open_feed: Any
) -> None:
    counter.count_to(3)
    simulator.call(lambda server: server.faults.refuse(1, "not you"))
    feed = open_feed(name, simulator.url)
    feed.wait_for_complaint("not you")
    simulator.call(lambda server: server.faults.accept())
    feed.wait_for_value(3)


@BOTH
def test_an_overflow_is_told_for_its_item(name: str, simulator: ServerThread, connected: FeedProcess) -> None:
    simulator.call(lambda server: server.faults.overflow(LEVEL, 7))
    connected.wait_for_event("lost", LEVEL, 7)


@BOTH
def test_unknown_notifications_are_harmless(
    name: str, simulator: ServerThread, connected: FeedProcess, counter: Counter
) -> None:
    simulator.call(lambda server: server.faults.raw("FOO,1"))
    counter.count_to(25)
    connected.wait_for_value(25)
    assert connected.values() == list(range(26))


@BOTH
def test_an_item_that_the_server_does_not_know_silences_no_other(name: str, open_feed: Any) -> None:
    known = [f"ITEM{number:03}" for number in range(120)]
    with ServerThread(lambda: SimulatorServer(switchboard=Switchboard([CLOCK, *known]))) as simulator:
        for item in known:
            update = Update(item, datetime.now(UTC), "1")
            simulator.call(lambda server: server.publish(update))  # noqa: B023
        feed = open_feed(name, simulator.url, ",".join([*known[:70], "UNKNOWN", *known[70:]]))
        while {event[1] for event in feed.events if event[0] == "update"} != set(known):
            feed.wait_for(lambda event: event[0] == "update")
        feed.wait_for_complaint("refuses item UNKNOWN")


@BOTH
def test_a_server_that_comes_up_late_is_found(name: str, open_feed: Any) -> None:
    with ServerThread() as gone:
        port = int(gone.url.rsplit(":", 1)[1])
    feed = open_feed(name, f"http://127.0.0.1:{port}")
    feed.wait_for_event("connection", "disconnected")
    time.sleep(0.5)
    with ServerThread(lambda: SimulatorServer(port)) as simulator:
        Counter(simulator).count_to(2)
        feed.wait_for_value(2)


@BOTH
def test_closing_the_feed_ends_the_session_on_the_server(
    name: str, simulator: ServerThread, connected: FeedProcess
) -> None:
    connected.close()
    # Sooner than the server would forget it by itself.
    deadline = time.monotonic() + 20.0
    while simulator.call(lambda server: server.faults.stats())["sessions"]:
        assert time.monotonic() < deadline
        time.sleep(0.02)
