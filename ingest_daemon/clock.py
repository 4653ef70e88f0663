"""What time it is for the daemon: the machine's clock, or in a replay the newest event time on the feed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Protocol

from ingest_daemon.reading import Reading


def utc_now() -> datetime:
    """The machine's clock."""
    return datetime.now(UTC)


class Clock(Protocol):
    """The daemon's notion of time; all moments are UTC."""

    def dating_reference(self, received_at: datetime) -> datetime:
        """The moment that tells the year of a TimeStamp in an update received at `received_at`."""

    def observe(self, reading: Reading) -> None:
        """Take notice of a reading."""

    def received(self, heard_at: datetime) -> datetime:
        """When the update just observed counts as received; `heard_at`: the machine's clock at arrival."""

    def now(self) -> datetime | None:
        """The present; None as long as it is unknown."""

    def known_until(self, now: datetime, behind_s: float) -> datetime:
        """Up to when all is heard at `now`, when what the feed says waits for up to `behind_s` seconds."""


class SystemClock:
    """Time as the machine tells it."""

    def __init__(self, read: Callable[[], datetime] = utc_now) -> None:
        self._read = read

    def dating_reference(self, received_at: datetime) -> datetime:
        return received_at

    def observe(self, reading: Reading) -> None:
        pass

    def received(self, heard_at: datetime) -> datetime:
        return heard_at

    def now(self) -> datetime | None:
        return self._read()

    def known_until(self, now: datetime, behind_s: float) -> datetime:
        return now - timedelta(seconds=behind_s)


class FeedClock:
    """Time as a replay tells it: the newest event time, unknown before the first; `as_of` tells the years.

    A snapshot says what was long before it, so it moves the clock only when nothing has moved it yet.
    """

    def __init__(self, as_of: datetime) -> None:
        self._as_of = as_of
        self._newest: datetime | None = None
        self._newest_snapshot: datetime | None = None

    def dating_reference(self, received_at: datetime) -> datetime:
        return self._as_of

    def observe(self, reading: Reading) -> None:
        if reading.is_snapshot:
            self._newest_snapshot = max(reading.ts, self._newest_snapshot or reading.ts)
        else:
            self._newest = max(reading.ts, self._newest or reading.ts)

    def received(self, heard_at: datetime) -> datetime:
        return self._newest or self._newest_snapshot or self._as_of

    def now(self) -> datetime | None:
        return self._newest

    def known_until(self, now: datetime, behind_s: float) -> datetime:
        return now
