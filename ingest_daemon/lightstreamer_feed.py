"""The feed by the official client. Importing it starts threads: only the daemon's process may do so.

The library never blocks and never complains (its queues are unbounded, errors of listeners are swallowed, a
closed WebSocket goes unnoticed until the keepalive runs out): listeners do next to nothing, and the rest
is watched from outside.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from lightstreamer.client import (
    ClientListener,
    ConsoleLoggerProvider,
    ConsoleLogLevel,
    LightstreamerClient,
    Subscription,
    SubscriptionListener,
)

from ingest_daemon.bounded_queue import BoundedQueue
from ingest_daemon.clock import utc_now
from ingest_daemon.feed import FIELDS, FeedEvent, Heard, SessionLost, UpdatesLost
from ingest_daemon.link import CLOCK_ITEM, Connection
from ingest_daemon.reading import RawUpdate

ITEMS_PER_SUBSCRIPTION = 50
"""The library copies the list of items for every update: small subscriptions cost less than a big one."""
KEEPALIVE_MS = 2000
STALLED_MS = 1000
RECONNECT_MS = 1000
CLOSE_TIMEOUT_S = 2.0
FAREWELL_S = 0.1

logger = logging.getLogger(__name__)


class LightstreamerFeed:
    """All channels of one adapter set in MERGE mode, each update as it comes."""

    def __init__(self, server: str, adapter_set: str, queue: BoundedQueue[FeedEvent]) -> None:
        LightstreamerClient.setLoggerProvider(ConsoleLoggerProvider(ConsoleLogLevel.WARN))
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
        client.addListener(_ErrorListener(self._errors))
        self._client = client
        others = [item for item in items if item != CLOCK_ITEM]
        self._subscribe([CLOCK_ITEM])
        for start in range(0, len(others), ITEMS_PER_SUBSCRIPTION):
            self._subscribe(others[start : start + ITEMS_PER_SUBSCRIPTION])
        client.connect()

    def connection(self) -> Connection:
        """Asked of the client itself: its status callbacks queue up behind the updates."""
        status = self._status()
        if status.startswith("CONNECTED:"):
            return Connection.CONNECTED
        return Connection.FAILED if status == "DISCONNECTED" else Connection.DISCONNECTED

    def describe(self) -> str:
        """The client's status, and the server's last error."""
        return " ".join([self._status(), *self._errors])

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
        listener = _UpdateListener(self._queue, self._refused, subscription, items == [CLOCK_ITEM])
        self._listeners.append(listener)
        subscription.addListener(listener)
        self._client.subscribe(subscription)


class _UpdateListener(SubscriptionListener):  # type: ignore[misc]
    """Runs on the library's one callback thread: copies values, by position (by name is 30 times slower)."""

    def __init__(
        self,
        queue: BoundedQueue[FeedEvent],
        refused: deque[tuple[Any, str]],
        subscription: Any,
        tells_session_loss: bool,
        now: Callable[[], datetime] = utc_now,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._queue = queue
        self._refused = refused
        self._subscription = subscription
        self.tells_session_loss = tells_session_loss
        self._now = now
        self._monotonic_s = monotonic_s

    def onItemUpdate(self, update: Any) -> None:  # noqa: N802
        value = update.getValue
        self._queue.put(
            Heard(
                RawUpdate(
                    update.getItemName(),
                    value(1),
                    value(2),
                    value(3),
                    value(4),
                    value(5),
                    value(6),
                    update.isSnapshot(),
                    self._now(),
                ),
                self._monotonic_s(),
            )
        )

    def onUnsubscription(self) -> None:  # noqa: N802
        # Comes with every loss of the session, in order with the updates.
        if self.tells_session_loss:
            self._queue.put(SessionLost())

    def onItemLostUpdates(self, item: str, position: int, lost: int) -> None:  # noqa: N802
        self._queue.put(UpdatesLost(item, lost, self._now()))

    def onSubscriptionError(self, code: int, message: str) -> None:  # noqa: N802
        self._refused.append((self._subscription, f"{code} {message}"))


class _ErrorListener(ClientListener):  # type: ignore[misc]
    def __init__(self, errors: deque[str]) -> None:
        super().__init__()
        self._errors = errors

    def onServerError(self, code: int, message: str) -> None:  # noqa: N802
        self._errors.append(f"(error {code}: {message})")


class _EndListener(ClientListener):  # type: ignore[misc]
    """Its callback comes through the same queue as the updates, so after it there are none."""

    def __init__(self) -> None:
        super().__init__()
        self.is_disconnected = False

    def onStatusChange(self, status: str) -> None:  # noqa: N802
        self.is_disconnected = status == "DISCONNECTED"
