"""One TLCP session: its subscriptions, its log, and the one connection that it is bound to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Protocol

from ingest_daemon.tlcp import Values, format_notification
from iss_simulator.session_log import SessionLog
from iss_simulator.subscription import RefusedError, Subscription


class Board(Protocol):
    """What the server knows of all items."""

    def is_known(self, item: str) -> bool:
        """Whether the item may be subscribed."""

    def latest(self, item: str) -> Values | None:
        """The last FIELDS of an item; None before its first update."""


class Session:
    """State of a session between and during its bindings; all calls come from the server's event loop."""

    def __init__(self, identity: str, board: Board, keep_lines: int, clock: Callable[[], float]) -> None:
        self.identity = identity
        self.log = SessionLog(keep_lines)
        self.uncounted: list[str] = []
        self.farewell: str | None = None
        self.loop_requested = False
        self.unbound_at: float | None = clock()
        self.peer_address = ""
        self._board = board
        self._clock = clock
        self._subscriptions: dict[int, Subscription] = {}
        self._binding: object | None = None
        self._wake_up = asyncio.Event()

    @property
    def has_subscriptions(self) -> bool:
        """Whether anything is subscribed."""
        return bool(self._subscriptions)

    @property
    def subscribed_items(self) -> frozenset[str]:
        """All items that are subscribed."""
        return frozenset(item for each in self._subscriptions.values() for item in each.items)

    @property
    def is_bound(self) -> bool:
        """Whether a connection carries the session now."""
        return self._binding is not None

    def attach(self, binding: object) -> asyncio.Event:
        """Bind to a new connection, taking the session from an older one; returns the binding's wake-up."""
        self._wake_up.set()
        self._wake_up = asyncio.Event()
        self._binding = binding
        self.unbound_at = None
        return self._wake_up

    def detach(self, binding: object) -> bool:
        """The connection is gone or done; False if another one has taken the session meanwhile."""
        if self._binding is not binding:
            return False
        self._binding = None
        self.unbound_at = self._clock()
        return True

    def abandon(self) -> None:
        """The server has lost the session: its connection falls silent."""
        if self._binding is not None:
            self.detach(self._binding)
        self.wake()

    def is_attached(self, binding: object) -> bool:
        """Whether this binding still owns the session."""
        return self._binding is binding

    def wake(self) -> None:
        """Something is to be sent."""
        self._wake_up.set()

    def publish(self, item: str, fields: Values) -> None:
        """New FIELDS of an item."""
        for subscription in self._subscriptions.values():
            for line in subscription.update_lines(item, fields):
                self.log.append(line)
                self._wake_up.set()

    def end(self, code: int, message: str) -> None:
        """Say END after all that waits to be sent."""
        self.farewell = format_notification("END", code, message)
        self.wake()

    def announce_loss(self, item: str, lost: int) -> None:
        """Say OV for an item, in every subscription that has it."""
        for subscription in self._subscriptions.values():
            if item in subscription.items:
                position = subscription.items.index(item) + 1
                self.log.append(format_notification("OV", subscription.number, position, lost))
        self.wake()

    def control(self, parameters: Mapping[str, str]) -> None:
        """Carry out one sub-request of `control`; raises RefusedError."""
        operation = parameters.get("LS_op")
        if operation == "add":
            self._add(parameters)
        elif operation in ("delete", "reconf"):
            subscription = self._subscriptions.get(int(parameters.get("LS_subId", "0")))
            if subscription is None:
                raise RefusedError(19, "Specified subscription not found")
            if operation == "delete":
                del self._subscriptions[subscription.number]
                self.log.append(format_notification("UNSUB", subscription.number))
            else:
                self.log.append(subscription.configuration_line())
        elif operation == "constrain":
            self.uncounted.append(format_notification("CONS", "unlimited"))
        elif operation == "force_rebind":
            self.loop_requested = True
        elif operation == "destroy":
            self.end(31, "Destroy invoked by client")
        else:
            raise RefusedError(67, f"Operation not supported: {operation}")
        self.wake()

    def _add(self, parameters: Mapping[str, str]) -> None:
        if parameters.get("LS_data_adapter", "DEFAULT") != "DEFAULT":
            raise RefusedError(17, "Data Adapter not found")
        subscription = Subscription.from_request(parameters, self._board.is_known)
        self._subscriptions[subscription.number] = subscription
        for line in subscription.opening_lines():
            self.log.append(line)
        if parameters.get("LS_snapshot") != "true":
            return
        for item in dict.fromkeys(subscription.items):
            fields = self._board.latest(item)
            if fields is not None:
                for line in subscription.update_lines(item, fields):
                    self.log.append(line)
