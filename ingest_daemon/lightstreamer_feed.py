"""The feed by the official client. Importing it starts threads: only the daemon's process may do so.

The library never blocks and never complains (its queues are unbounded, errors of listeners are swallowed, a
closed WebSocket goes unnoticed until the keepalive runs out): listeners do next to nothing, and the rest
is watched from outside. How far its queues are behind is measured by marks that wait in them as updates do; a
client that is too far behind is closed (docs/decisions/0004).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from lightstreamer.client import (
    ClientListener,
    ConsoleLoggerProvider,
    ConsoleLogLevel,
    LightstreamerClient,
    LoggerProvider,
    Subscription,
    SubscriptionListener,
)

from ingest_daemon.bounded_queue import BoundedQueue
from ingest_daemon.clock import utc_now
from ingest_daemon.feed import (
    FIELDS,
    ClientOverflow,
    FeedEvent,
    Heard,
    LineRejected,
    SessionLost,
    UpdatesLost,
)
from ingest_daemon.link import CLOCK_ITEM, Connection
from ingest_daemon.passage import NOTABLE_S, Mark, Overload, Passage, Position
from ingest_daemon.reading import MAX_TEXT, RawUpdate, clipped

ITEMS_PER_SUBSCRIPTION = 50
"""The library copies the list of items for every update: small subscriptions cost less than a big one."""
KEEPALIVE_MS = 2000
STALLED_MS = 1000
RECONNECT_MS = 1000
UNREADABLE = 61
"""The error of a client that could not read a line: it has ended its session."""
CLOSE_TIMEOUT_S = 2.0
FAREWELL_S = 0.1
MARK_EVERY_S = 0.1

logger = logging.getLogger(__name__)


class LightstreamerFeed:
    """All channels of one adapter set in MERGE mode, each update as it comes."""

    def __init__(
        self,
        server: str,
        adapter_set: str,
        queue: BoundedQueue[FeedEvent],
        *,
        gives_up: bool = True,
        now: Callable[[], datetime] = utc_now,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """`gives_up`: it fails when it is hopelessly behind, so that what waits in the client is bounded."""
        self._gives_up = gives_up
        self._passage = Passage()
        self._overload = Overload()
        self._queues = _Queues(self._passage)
        LightstreamerClient.setLoggerProvider(self._queues)
        self._now = now
        self._monotonic_s = monotonic_s
        self._marked_s = float("-inf")
        self._server = server
        self._adapter_set = adapter_set
        self._queue = queue
        self._client: Any = None
        self._errors: deque[str] = deque(maxlen=1)
        self._refused: deque[tuple[Any, str]] = deque()
        self._listeners: list[_UpdateListener] = []

    def open(self, items: Sequence[str]) -> None:
        """Connect with a new client; CLOCK_ITEM gets a subscription of its own."""
        self._errors.clear()
        self._refused.clear()
        client = LightstreamerClient(self._server, self._adapter_set)
        client.connectionOptions.setKeepaliveInterval(KEEPALIVE_MS)
        client.connectionOptions.setStalledTimeout(STALLED_MS)
        client.connectionOptions.setReconnectTimeout(RECONNECT_MS)
        client.connectionOptions.setSlowingEnabled(False)
        client.addListener(_ErrorListener(self._errors, self._queues, self._queue, self._now))
        self._client = client
        others = [item for item in items if item != CLOCK_ITEM]
        self._subscribe([CLOCK_ITEM])
        for start in range(0, len(others), ITEMS_PER_SUBSCRIPTION):
            self._subscribe(others[start : start + ITEMS_PER_SUBSCRIPTION])
        client.connect()

    def connection(self) -> Connection:
        """Asked of the client itself: its status callbacks queue up behind the updates.

        FAILED, too, when it is hopelessly behind: nothing but to close it bounds what waits inside it.
        """
        monotonic_s = self._monotonic_s()
        self._send_mark(monotonic_s)
        if self._gives_up and self._overload.is_over(self._passage.waited_s(monotonic_s), monotonic_s):
            return Connection.FAILED
        status = self._status()
        if status.startswith("CONNECTED:"):
            return Connection.CONNECTED
        return Connection.FAILED if status == "DISCONNECTED" else Connection.DISCONNECTED

    def describe(self) -> str:
        """The client's status, and the server's last error."""
        words = [self._status(), *self._errors]
        if (waited_s := self._passage.waited_s(self._monotonic_s())) > NOTABLE_S:
            words.append(f"{waited_s:.1f} s behind: more comes than this client can take")
        return " ".join(words)

    def behind_s(self, monotonic_s: float) -> float:
        """All that the client has read before so many seconds is in the queue."""
        self._send_mark(monotonic_s)
        return self._passage.behind_s(monotonic_s)

    def tend(self) -> None:
        """Subscribe in halves what the server has refused: one bad item must not silence 49 good ones."""
        while self._refused:
            subscription, error = self._refused.popleft()
            items = subscription.getItems()
            self._client.unsubscribe(subscription)
            if len(items) == 1:
                logger.warning(
                    "the server refuses item %(item)s: %(error)s", {"item": items[0], "error": error}
                )
                continue
            middle = len(items) // 2
            self._subscribe(items[:middle])
            self._subscribe(items[middle:])

    def close(self) -> None:
        """Disconnect, and wait (2 s at most) until the callbacks that were under way are through."""
        client, self._client = self._client, None
        monotonic_s = self._monotonic_s()
        position = self._passage.position()
        is_behind = self._passage.waited_s(monotonic_s) > NOTABLE_S
        since = self._now() - timedelta(seconds=self._passage.behind_s(monotonic_s))
        self._disconnect(client)
        # The client forgets what waits inside it.
        if is_behind and position is not None:
            self._tell_overflow(position, since)

    def _tell_overflow(self, position: Position, since: datetime) -> None:
        count = self._passage.missing_since(position)
        if count:
            logger.error(
                "%(count)d lines that were received since %(since)s are lost: they waited inside the client"
                " when it was closed",
                {"count": count, "since": since.isoformat(timespec="milliseconds")},
            )
            self._queue.put(ClientOverflow(since, count, self._now()))

    def _send_mark(self, monotonic_s: float) -> None:
        if monotonic_s - self._marked_s >= MARK_EVERY_S and self._queues.are_known():
            self._marked_s = monotonic_s
            self._queues.send(self._passage.send(monotonic_s))

    def _disconnect(self, client: Any) -> None:
        for listener in self._listeners:
            listener.tells_session_loss = False
        self._listeners.clear()
        if client is None or client.getStatus() == "DISCONNECTED":
            return
        ended = _EndListener()
        client.addListener(ended)
        client.disconnect()
        deadline = time.monotonic() + CLOSE_TIMEOUT_S
        while not ended.is_disconnected and time.monotonic() < deadline:
            time.sleep(0.01)
        # What says goodbye to the server may be on its way still.
        time.sleep(FAREWELL_S)

    def _status(self) -> str:
        return "DISCONNECTED" if self._client is None else str(self._client.getStatus())

    def _subscribe(self, items: list[str]) -> None:
        subscription = Subscription("MERGE", items, list(FIELDS))
        subscription.setRequestedSnapshot("yes")
        # Without it the server keeps only the newest state of an item while it can't send.
        subscription.setRequestedBufferSize("unlimited")
        listener = _UpdateListener(
            self._queue, self._refused, self._passage, subscription, items == [CLOCK_ITEM], self._now
        )
        self._listeners.append(listener)
        subscription.addListener(listener)
        self._client.subscribe(subscription)


class _UpdateListener(SubscriptionListener):  # type: ignore[misc]
    """Runs on the library's one callback thread: copies values, by position (by name is 30 times slower)."""

    def __init__(
        self,
        queue: BoundedQueue[FeedEvent],
        refused: deque[tuple[Any, str]],
        passage: Passage,
        subscription: Any,
        tells_session_loss: bool,
        now: Callable[[], datetime] = utc_now,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._queue = queue
        self._refused = refused
        self._passage = passage
        self._subscription = subscription
        self.tells_session_loss = tells_session_loss
        self._now = now
        self._monotonic_s = monotonic_s

    def onItemUpdate(self, update: Any) -> None:  # noqa: N802
        self._passage.left += 1
        value = update.getValue
        fields = clipped((value(1), value(2), value(3), value(4), value(5), value(6)))
        raw = RawUpdate(update.getItemName(), *fields, update.isSnapshot(), self._now())
        self._queue.put(Heard(raw, self._monotonic_s()))

    def onUnsubscription(self) -> None:  # noqa: N802
        # Comes with every loss of the session, in order with the updates.
        if self.tells_session_loss:
            self._queue.put(SessionLost())

    def onItemLostUpdates(self, item: str, position: int, lost: int) -> None:  # noqa: N802
        self._queue.put(UpdatesLost(item, lost, self._now()))

    def onSubscriptionError(self, code: int, message: str) -> None:  # noqa: N802
        self._refused.append((self._subscription, f"{code} {message}"))


class _ErrorListener(ClientListener):  # type: ignore[misc]
    def __init__(
        self,
        errors: deque[str],
        queues: _Queues,
        queue: BoundedQueue[FeedEvent],
        now: Callable[[], datetime],
    ) -> None:
        super().__init__()
        self._errors = errors
        self._queues = queues
        self._queue = queue
        self._now = now

    def onListenStart(self) -> None:  # noqa: N802
        self._queues.callbacks = asyncio.get_running_loop()

    def onServerError(self, code: int, message: str) -> None:  # noqa: N802
        # The server's words, or the library's: of any length.
        message = str(message)[:MAX_TEXT]
        self._errors.append(f"(error {code}: {message})")
        if code == UNREADABLE:
            self._queue.put(LineRejected(f"error {code}: {message}", "protocol_error", self._now()))


class _EndListener(ClientListener):  # type: ignore[misc]
    """Its callback comes through the same queue as the updates, so after it there are none."""

    def __init__(self) -> None:
        super().__init__()
        self.is_disconnected = False

    def onStatusChange(self, status: str) -> None:  # noqa: N802
        self.is_disconnected = status == "DISCONNECTED"


class _Queues(LoggerProvider):  # type: ignore[misc]
    """The library's two queues: of lines that were read, and of callbacks. Each is an event loop's.

    It asks its loggers whether it shall tell of each line, on the threads at the ends of the first queue: for
    the category `stream` on the one that puts, for `protocol` on the one that takes.
    """

    def __init__(self, passage: Passage) -> None:
        self.callbacks: asyncio.AbstractEventLoop | None = None
        self._lines: asyncio.AbstractEventLoop | None = None
        self._passage = passage
        self._console = ConsoleLoggerProvider(ConsoleLogLevel.WARN)

    def getLogger(self, category: str) -> Any:  # noqa: N802
        console = self._console.getLogger(category)
        if category == "lightstreamer.stream":
            return _NoticingLogger(console, self._line_read)
        if category == "lightstreamer.protocol":
            return _NoticingLogger(console, self._line_taken)
        return console

    def are_known(self) -> bool:
        """Whether a line has been taken and a callback made: before that nothing waits."""
        return self._lines is not None and self.callbacks is not None

    def send(self, mark: Mark) -> None:
        """Let it go through both queues."""
        assert self._lines is not None  # noqa: S101  the caller has asked
        assert self.callbacks is not None  # noqa: S101
        self._lines.call_soon_threadsafe(self.callbacks.call_soon_threadsafe, self._passage.passed, mark)

    def _line_read(self) -> None:
        self._passage.entered += 1

    def _line_taken(self) -> None:
        if self._lines is None:
            with suppress(RuntimeError):
                self._lines = asyncio.get_running_loop()


class _NoticingLogger:
    """A logger of the library that debugs nothing, and notices each time that it might."""

    def __init__(self, console: Any, notice: Callable[[], None]) -> None:
        self._console = console
        self._notice = notice

    def isDebugEnabled(self) -> bool:  # noqa: N802
        self._notice()
        return False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._console, name)
