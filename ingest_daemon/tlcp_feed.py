"""The feed by our own reader: WebSocket, one thread with an event loop of its own, back-pressure.

It differs from the official client where that one can't be helped: a closed connection is noticed at once, a
full queue stops it from reading (so that the server knows), and an update costs a hundredth of the time.
"""

from __future__ import annotations

import asyncio
import logging
import random
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from urllib.parse import urlsplit

import aiohttp

from ingest_daemon.backoff import Backoff
from ingest_daemon.bounded_queue import BoundedQueue
from ingest_daemon.clock import utc_now
from ingest_daemon.feed import FeedEvent, LineRejected, SessionLost
from ingest_daemon.link import Connection
from ingest_daemon.tlcp import PROTOCOL, WEBSOCKET_PROTOCOL_SUFFIX, ProtocolError, Request, format_request
from ingest_daemon.tlcp_session import SessionOverError, TlcpSession, groups_of

CONNECT_TIMEOUT_S = 10.0
PATIENCE_S = 2.0
"""Seconds of silence, beyond the keepalive interval, after which a connection counts as dead."""
FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 60.0
STEADY_S = 1.0
"""Seconds that a connection must last for the next pause to be short again."""
FRAME_LIMIT = 1_048_576
CLOSE_TIMEOUT_S = 0.5
ROOM_CHECK_S = 0.01

logger = logging.getLogger(__name__)


class ConnectionLostError(Exception):
    """The connection has ended, or is silent; the session may go on over a new one."""


class TlcpFeed:
    """All channels of one adapter set in MERGE mode, each update as it comes."""

    def __init__(
        self,
        server: str,
        adapter_set: str,
        queue: BoundedQueue[FeedEvent],
        *,
        now: Callable[[], datetime] = utc_now,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._server = server
        self._adapter_set = adapter_set
        self._queue = queue
        self._now = now
        self._monotonic_s = monotonic_s
        self._reader: _Reader | None = None

    def open(self, items: Sequence[str]) -> None:
        """Connect, in a new thread; CLOCK_ITEM gets a subscription of its own."""
        session = TlcpSession(self._adapter_set, groups_of(items))
        self._reader = _Reader(self._server, session, self._queue, self._now, self._monotonic_s)
        self._reader.start()

    def connection(self) -> Connection:
        """CONNECTED from the server's CONOK on; FAILED only by a fault of ours."""
        return Connection.DISCONNECTED if self._reader is None else self._reader.connection

    def describe(self) -> str:
        """What the reader does, or the last error."""
        return "closed" if self._reader is None else self._reader.doing

    def behind_s(self, monotonic_s: float) -> float:
        """Nothing waits here: it reads no more than it hands over."""
        return 0.0

    def tend(self) -> None:
        """Nothing: the reader repairs by itself what can be repaired."""

    def close(self) -> None:
        """End the session and the thread."""
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.stop()


class _Reader:
    """One thread with one event loop: it reads, and makes good what goes wrong, until it is stopped."""

    def __init__(
        self,
        server: str,
        session: TlcpSession,
        queue: BoundedQueue[FeedEvent],
        now: Callable[[], datetime],
        monotonic_s: Callable[[], float],
    ) -> None:
        self.connection = Connection.DISCONNECTED
        self.doing = "connecting"
        self._server = server
        self._session = session
        self._queue = queue
        self._now = now
        self._monotonic_s = monotonic_s
        self._events: list[FeedEvent] = []
        self._backoff = Backoff(FIRST_PAUSE_S, LONGEST_PAUSE_S)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="tlcp_feed", daemon=True)
        self._task: asyncio.Task[None] | None = None
        self._is_stopping = False

    def start(self) -> None:
        self._task = self._loop.create_task(self._listen())
        self._thread.start()

    def stop(self) -> None:
        """Returns when all that was received is in the queue."""
        self._is_stopping = True
        # A thread that has failed has closed its loop.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._cancel)
        self._thread.join()
        # Whoever stops the feed empties the queue afterwards, so that waiting for room would be for ever.
        self._queue.force(self._events)
        self._events.clear()

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _run(self) -> None:
        assert self._task is not None  # noqa: S101  start() made it
        try:
            self._loop.run_until_complete(self._task)
        except asyncio.CancelledError:
            self.doing = "closed"
        except Exception as error:
            logger.exception("the feed's thread has failed")
            self.doing = f"failed: {error!r}"
            self.connection = Connection.FAILED
        finally:
            self._loop.close()

    async def _listen(self) -> None:
        async with aiohttp.ClientSession() as http:
            while not self._is_stopping:
                started_s = self._monotonic_s()
                trouble, is_forgotten = "", False
                try:
                    await self._converse(http)
                except ConnectionLostError as error:
                    trouble = str(error)
                    if self._session.identity and not self._session.is_recoverable:
                        self._give_up_session()
                except ProtocolError as error:
                    trouble = f"unreadable: {error}"
                    self._events.append(LineRejected(str(error), "protocol_error", self._now()))
                    self._give_up_session()
                except SessionOverError as error:
                    trouble = str(error)
                    is_forgotten = bool(self._session.identity) and not self._session.is_bound
                    self._give_up_session()
                self.connection = Connection.DISCONNECTED
                await self._hand_over()
                # A server that has only forgotten us is there.
                await self._pause(trouble, self._monotonic_s() - started_s, at_once=is_forgotten)

    async def _converse(self, http: aiohttp.ClientSession) -> None:
        """One connection, until the server wants another one (LOOP); raises whatever else ends it."""
        session = self._session
        session.begin_connection()
        limit = asyncio.timeout(CONNECT_TIMEOUT_S)
        try:
            async with limit, await self._connect(http) as web_socket:
                await self._send(web_socket, session.take_requests())
                try:
                    while session.loop_after_s is None:
                        frame = await _next_frame(web_socket)
                        session.receive(frame, self._now(), self._monotonic_s(), self._events)
                        if session.is_bound and self.connection is not Connection.CONNECTED:
                            self._connected()
                        if requests := session.take_requests():
                            await self._send(web_socket, requests)
                        if self._events:
                            # As long as it takes: we are not reading, so it is not the server that is silent.
                            limit.reschedule(None)
                            await self._hand_over()
                        limit.reschedule(self._loop.time() + session.keepalive_s + PATIENCE_S)
                except asyncio.CancelledError:
                    # Stopped, or silent for too long.
                    if not limit.expired():
                        # Whether it still hears that or not.
                        with suppress(aiohttp.ClientError, OSError):
                            await self._send(web_socket, [session.farewell()])
                    raise
        except TimeoutError:
            raise ConnectionLostError("no answer" if not session.is_bound else "silence") from None
        except (aiohttp.ClientError, OSError) as error:
            raise ConnectionLostError(f"no connection: {error}" if str(error) else repr(error)) from error

    async def _connect(self, http: aiohttp.ClientSession) -> aiohttp.ClientWebSocketResponse:
        address = urlsplit(self._server)
        if self._session.host is not None:
            address = address._replace(netloc=self._session.host)
        return await http.ws_connect(
            f"{address.geturl().rstrip('/')}/lightstreamer",
            protocols=(PROTOCOL + WEBSOCKET_PROTOCOL_SUFFIX,),
            timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_TIMEOUT_S),
            max_msg_size=FRAME_LIMIT,
        )

    async def _send(self, web_socket: aiohttp.ClientWebSocketResponse, requests: list[Request]) -> None:
        for request in requests:
            await web_socket.send_str(format_request(request))

    async def _hand_over(self) -> None:
        """Put what was heard into the queue, and wait with the rest while that is full."""
        while self._events:
            del self._events[: self._queue.offer(self._events)]
            if self._events:
                await asyncio.sleep(ROOM_CHECK_S)

    async def _pause(self, trouble: str, lasted_s: float, *, at_once: bool) -> None:
        pause_s = 0.0
        if lasted_s >= STEADY_S:
            self._backoff.succeeded()
        if not trouble and lasted_s >= STEADY_S:
            pause_s = self._session.loop_after_s or 0.0
        elif not at_once:
            # Not all clients of a server that restarts come back in the same moment.
            pause_s = self._backoff.failed(self._monotonic_s()) * random.uniform(0.5, 1.0)  # noqa: S311
        if trouble:
            self.doing = trouble
            logger.warning(
                "the connection has ended: %(trouble)s; trying again in %(pause_s).1f s",
                {"trouble": trouble, "pause_s": pause_s},
            )
        await asyncio.sleep(pause_s)

    def _connected(self) -> None:
        self.doing = f"session {self._session.identity}"
        self.connection = Connection.CONNECTED

    def _give_up_session(self) -> None:
        if self._session.identity:
            self._events.append(SessionLost())
        self._session = self._session.successor()


async def _next_frame(web_socket: aiohttp.ClientWebSocketResponse) -> str:
    message = await web_socket.receive()
    if message.type is aiohttp.WSMsgType.TEXT:
        return str(message.data)
    if message.type is aiohttp.WSMsgType.BINARY:
        raise ProtocolError("a binary frame")
    if message.type is aiohttp.WSMsgType.ERROR and isinstance(message.data, aiohttp.WebSocketError):
        raise ProtocolError(f"a bad frame: {message.data}")
    raise ConnectionLostError(f"closed by the server ({web_socket.close_code})")
