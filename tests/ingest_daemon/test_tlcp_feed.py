"""What the TLCP reader promises beyond the official client: quick to notice, patient, hard to fool."""

from __future__ import annotations

import shutil
import ssl
import subprocess
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import pytest
from aiohttp import WSMsgType, web

from ingest_daemon.bounded_queue import BoundedQueue
from ingest_daemon.feed import FeedEvent, Heard, LineRejected, SessionLost
from ingest_daemon.link import Connection
from ingest_daemon.tlcp_feed import FRAME_LIMIT, TlcpFeed
from iss_simulator.feed import Update
from iss_simulator.server import SimulatorServer
from iss_simulator.switchboard import Switchboard
from iss_simulator.thread import ServerThread

LEVEL = "NODE3000005"
START = datetime(2026, 1, 1, tzinfo=UTC)


@contextmanager
def listening(url: str, capacity: int = 100_000) -> Iterator[tuple[TlcpFeed, BoundedQueue[FeedEvent]]]:
    events: BoundedQueue[FeedEvent] = BoundedQueue(capacity)
    feed = TlcpFeed(url, "ISSLIVE", events)
    feed.open([LEVEL])
    try:
        yield feed, events
    finally:
        feed.close()
        assert not [thread for thread in threading.enumerate() if thread.name == "tlcp_feed"]


def wait_until(condition: Callable[[], object], timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)


def publish(server: SimulatorServer, first: int, last: int, padding: str = "") -> None:
    for number in range(first, last + 1):
        server.publish(Update(LEVEL, START + timedelta(seconds=number), f"{number}{padding}"))


def is_connected(feed: TlcpFeed) -> Callable[[], bool]:
    return lambda: feed.connection() is Connection.CONNECTED


def bound(simulator: ServerThread) -> int:
    return simulator.call(lambda server: server.faults.stats())["bound"]


@pytest.fixture
def simulator() -> Iterator[ServerThread]:
    with ServerThread() as simulator:
        yield simulator


def test_a_closed_connection_is_noticed_by_its_end_and_not_by_silence(
    simulator: ServerThread, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("ingest_daemon.tlcp_feed.PATIENCE_S", 3600.0)
    with listening(simulator.url) as (feed, _):
        wait_until(is_connected(feed))
        simulator.call(lambda server: server.faults.drop())
        wait_until(lambda: "the connection has ended" in caplog.text)
        wait_until(is_connected(feed))


@pytest.mark.slow
def test_a_full_queue_stops_the_reading_and_nothing_is_dropped() -> None:
    numbers, padding = 30_000, "x" * 900
    with (
        ServerThread(lambda: SimulatorServer(switchboard=Switchboard(keep_lines=100))) as simulator,
        listening(simulator.url, capacity=1000) as (feed, events),
    ):
        simulator.call(lambda server: publish(server, 0, 0, padding))
        wait_until(lambda: len(events))
        simulator.call(lambda server: publish(server, 1, numbers, padding))
        wait_until(lambda: len(events) == 1000)
        # Longer than the silence after which a connection counts as dead.
        time.sleep(4.5)
        assert len(events) == 1000
        assert simulator.call(lambda server: server.faults.stats())["unsent"] > numbers / 2
        assert feed.connection() is Connection.CONNECTED
        received: list[int] = []
        while len(received) <= numbers:
            wait_until(lambda: len(events))
            taken = events.take(1000)
            received += [int(e.update.value[: -len(padding)]) for e in taken if isinstance(e, Heard)]  # type: ignore[index]
        assert received == list(range(numbers + 1))
        assert events.take_dropped() == 0


def test_a_feed_that_waits_for_room_can_be_closed(simulator: ServerThread) -> None:
    events: BoundedQueue[FeedEvent] = BoundedQueue(10)
    feed = TlcpFeed(simulator.url, "ISSLIVE", events)
    feed.open([LEVEL])
    simulator.call(lambda server: publish(server, 0, 0))
    wait_until(lambda: len(events))
    simulator.call(lambda server: publish(server, 1, 100))
    wait_until(lambda: len(events) == 10)
    # Were it to wait for room, this would be for ever.
    feed.close()
    wait_until(lambda: not bound(simulator))
    # What it had read but found no room for is not lost.
    taken = events.take(1000)
    assert [event.update.value for event in taken if isinstance(event, Heard)][:11] == list(
        map(str, range(11))
    )
    assert len(taken) > 11
    assert events.take_dropped() == 0


@pytest.mark.parametrize("fault", ["drop", "forget", "loop"])
def test_a_feed_can_be_closed_at_any_moment(
    fault: str, simulator: ServerThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Who closes it waits for none of these.
    for limit in ("PATIENCE_S", "CONNECT_TIMEOUT_S"):
        monkeypatch.setattr(f"ingest_daemon.tlcp_feed.{limit}", 3600.0)
    for moment in range(12):
        feed = TlcpFeed(simulator.url, "ISSLIVE", BoundedQueue(100))
        feed.open([LEVEL])
        time.sleep(0.002 * moment)
        simulator.call(lambda server: getattr(server.faults, fault)())
        time.sleep(0.0005 * (moment % 3))
        feed.close()


def test_a_closed_feed_can_be_opened_again(simulator: ServerThread) -> None:
    events: BoundedQueue[FeedEvent] = BoundedQueue(100)
    feed = TlcpFeed(simulator.url, "ISSLIVE", events)
    for number in range(3):
        simulator.call(lambda server: publish(server, number, number))  # noqa: B023
        feed.open([LEVEL])
        wait_until(lambda: len(events))
        feed.close()
        assert feed.connection() is Connection.DISCONNECTED
        values = [event.update.value for event in events.take(100) if isinstance(event, Heard)]
        assert values == [str(number)]


def test_a_server_that_refuses_for_ever_is_asked_ever_more_rarely(caplog: pytest.LogCaptureFixture) -> None:
    def pauses() -> list[float]:
        arguments = [record.args for record in caplog.records if "trying again" in record.msg]
        return [float(each["pause_s"]) for each in arguments if isinstance(each, dict)]  # type: ignore[arg-type]

    refusing = SimulatorServer(switchboard=Switchboard(adapter_set="OTHER"))
    with ServerThread(lambda: refusing) as server, listening(server.url):
        wait_until(lambda: len(pauses()) >= 6)
    for attempt, pause in enumerate(pauses()):
        assert 0.05 * 2**attempt <= pause <= 0.1 * 2**attempt


class HostileServer:
    """Creates a session, then does as told; counts the sessions."""

    def __init__(
        self, attack: Callable[[web.WebSocketResponse], Awaitable[object]], tls: ssl.SSLContext | None = None
    ) -> None:
        self._attack = attack
        self._tls = tls
        self.sessions = 0

    async def __aenter__(self) -> Self:
        application = web.Application()
        application.add_routes([web.get("/lightstreamer", self._serve)])
        self._runner = web.AppRunner(application, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self._tls).start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self._runner.addresses[0][1]}"

    async def _serve(self, request: web.Request) -> web.WebSocketResponse:
        web_socket = web.WebSocketResponse(protocols=("TLCP-2.5.0.lightstreamer.com",), timeout=0.1)
        await web_socket.prepare(request)
        async for message in web_socket:
            if message.type is WSMsgType.TEXT and message.data.startswith("create_session"):
                self.sessions += 1
                await web_socket.send_str(f"WSOK\r\nCONOK,S{self.sessions},50000,2000,*\r\n")
                await self._attack(web_socket)
        return web_socket


def frame(data: bytes, kind: WSMsgType) -> Callable[[web.WebSocketResponse], Awaitable[object]]:
    async def attack(web_socket: web.WebSocketResponse) -> None:
        await web_socket._writer.send_frame(data, kind)  # type: ignore[union-attr]

    return attack


@pytest.mark.parametrize(
    "attack",
    [
        frame(b"PROBE\r\n", WSMsgType.BINARY),
        frame(b"PROBE,\xff\xfe\r\n", WSMsgType.TEXT),
        frame(b"x" * (FRAME_LIMIT + 1), WSMsgType.TEXT),
        frame(b"<html>\r\n", WSMsgType.TEXT),
        frame(b"LOOP,\xd9\xa3\r\n", WSMsgType.TEXT),
    ],
    ids=["binary", "no UTF-8", "too big", "HTML", "a foreign digit"],
)
def test_a_frame_that_is_none_costs_the_session_and_is_reported(attack: Any) -> None:
    server = HostileServer(attack)
    with ServerThread(lambda: server) as hostile, listening(hostile.url) as (feed, events):  # type: ignore[arg-type,return-value]
        wait_until(lambda: server.sessions >= 3)
        heard = events.take(4)
        assert [type(event) for event in heard] == [LineRejected, SessionLost] * 2
        assert {event.reason for event in heard if isinstance(event, LineRejected)} == {"protocol_error"}
        assert feed.connection() is not Connection.FAILED


def test_a_server_with_a_certificate_that_nobody_vouches_for_is_not_listened_to(tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl here to make a certificate with")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=127.0.0.1",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    server = HostileServer(frame(b"PROBE\r\n", WSMsgType.TEXT), tls)
    with ServerThread(lambda: server) as hostile, listening(hostile.url) as (feed, events):  # type: ignore[arg-type,return-value]
        wait_until(lambda: "CERTIFICATE_VERIFY_FAILED" in feed.describe())
        assert feed.connection() is Connection.DISCONNECTED
        assert server.sessions == len(events) == 0
