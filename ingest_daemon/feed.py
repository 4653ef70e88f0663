"""What a feed is to the daemon: it can be opened and watched from outside, and it fills a queue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol

from ingest_daemon.link import Connection
from ingest_daemon.reading import RawUpdate

FIELDS = ("TimeStamp", "Value", "Status.Class", "Status.Indicator", "Status.Color", "CalibratedData")


class Heard(NamedTuple):
    """An update, and the monotonic clock (s) at its arrival."""

    update: RawUpdate
    monotonic_s: float


@dataclass(frozen=True, slots=True)
class SessionLost:
    """Updates between those before and those after this will never come."""


@dataclass(frozen=True, slots=True)
class UpdatesLost:
    """The server says that it has skipped `count` updates of `item`."""

    item: str
    count: int
    received_at: datetime


@dataclass(frozen=True, slots=True)
class LineRejected:
    """The server has said something that is not in the protocol: what it was, or what is wrong with it."""

    text: str
    reason: str
    received_at: datetime


@dataclass(frozen=True, slots=True)
class ClientOverflow:
    """The client was closed with `count` lines or so, received from `since` on, still waiting inside it."""

    since: datetime
    count: int
    received_at: datetime


FeedEvent = Heard | SessionLost | UpdatesLost | LineRejected | ClientOverflow


class Feed(Protocol):
    """A connection to a telemetry server; only close() may take a moment. It can be opened again after it."""

    def open(self, items: Sequence[str]) -> None:
        """Begin to connect and subscribe these items; events go to the queue that the feed was made with."""

    def connection(self) -> Connection:
        """How the connection is right now."""

    def describe(self) -> str:
        """The connection in the feed's own words, with the last error if there is one."""

    def behind_s(self, monotonic_s: float) -> float:
        """All that has arrived before so many seconds is in the queue; to be asked several times a second."""

    def tend(self) -> None:
        """Repair what the feed can't repair by itself; to be called every second or so."""

    def close(self) -> None:
        """End the connection; what was received is in the queue afterwards."""
