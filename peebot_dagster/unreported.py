"""The hours whose events have changed and of which Dagster has not heard yet."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime


class Unreported:
    """Changed hours (UTC) by detector, for all ticks of one process; they run in threads of it.

    Events are stored before Dagster hears of them: what a tick that failed has changed, or more than one tick
    reports, the next one finds here. To lose it, with the process, costs no event: only news in the UI.
    """

    def __init__(self) -> None:
        self._hours: defaultdict[str, set[datetime]] = defaultdict(set)
        self._newest: dict[str, datetime] = {}
        self._lock = threading.Lock()

    def add(self, detector: str, hours: Iterable[datetime]) -> None:
        with self._lock:
            self._hours[detector].update(hours)

    def add_if_newer(self, detector: str, hour: datetime) -> None:
        """An hour later than any so far: that nothing has happened in it is to be seen, too, once."""
        with self._lock:
            newest = self._newest.get(detector)
            if newest is None or hour > newest:
                self._newest[detector] = hour
                self._hours[detector].add(hour)

    def take(self, detector: str, most: int) -> list[datetime]:
        """The newest of the detector's hours, newest first and at most so many: they count as reported."""
        with self._lock:
            taken = sorted(self._hours[detector], reverse=True)[:most]
            self._hours[detector].difference_update(taken)
            return taken
