"""What a live detection tells in the course of time: the same detector at one watermark after the other."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

import numpy as np
import pandas as pd

from peebot_dagster.detectors.detector import DetectedEvent, Detector, LiveInterval, LostInterval, Window

_MICROSECOND = timedelta(microseconds=1)
# With nothing open and nothing read, time alone changes little.
_IDLE = timedelta(minutes=10)


@dataclass(frozen=True)
class Life:
    """All that was told of one event, in order, each with the watermark (UTC) at which it was told; None: it
    was retracted."""

    tellings: tuple[tuple[datetime, DetectedEvent | None], ...]

    @property
    def final(self) -> DetectedEvent | None:
        """What remains."""
        return self.tellings[-1][1]

    def first(self, wanted: Callable[[DetectedEvent], bool]) -> datetime | None:
        """When something that was wanted was first told (UTC)."""
        return next((at for at, event in self.tellings if event is not None and wanted(event)), None)


class Prefixes:
    """The windows that a store would give for a recorded one, each up to another watermark."""

    def __init__(self, window: Window) -> None:
        self._whole = window
        order = window.readings["ts"].argsort(kind="stable")
        self._readings = window.readings.iloc[order]
        self._ts = self._readings["ts"]
        items = self._readings["item"].to_numpy()
        self._places = [np.flatnonzero(items == item) for item in pd.unique(items)]
        self._live_ends = [interval.end for interval in window.live or ()]
        self._live_starts = [interval.start for interval in window.live or ()]

    def moments(self) -> list[datetime]:
        """The times of the readings (UTC), each once, in order."""
        return [moment.to_pydatetime() for moment in self._ts.drop_duplicates()]

    def window(self, start: datetime, end: datetime) -> Window:
        """The telemetry of [start, end) with the last reading of each item before it."""
        first, last = (int(self._ts.searchsorted(pd.Timestamp(moment))) for moment in (start, end))
        carried = [
            int(places[place - 1]) for places in self._places if (place := int(places.searchsorted(first)))
        ]
        readings = self._readings.iloc[first:last]
        if carried:
            readings = self._readings.iloc[[*sorted(carried), *range(first, last)]]
        return Window(start, end, readings, self._live(start, end), self._lost(start, end))

    def _live(self, start: datetime, end: datetime) -> tuple[LiveInterval, ...] | None:
        if self._whole.live is None:
            return None
        first, last = bisect_right(self._live_ends, start), bisect_left(self._live_starts, end)
        return tuple(
            replace(interval, start=max(interval.start, start), end=min(interval.end, end))
            for interval in self._whole.live[first:last]
        )

    def _lost(self, start: datetime, end: datetime) -> tuple[LostInterval, ...] | None:
        if self._whole.lost is None:
            return None
        return tuple(
            replace(interval, end=min(interval.end, end))
            for interval in self._whole.lost
            if interval.start < end and interval.end > start
        )


def lives(
    detector: Detector, window: Window, since: datetime, every: timedelta = timedelta(seconds=10)
) -> list[Life]:
    """The lives of all events that start from `since` (UTC) on, in order of their first telling.

    The detection looks whenever a reading has come, `every` so often while an event is open, and at least
    each ten minutes; a detector with a trigger interval looks that often and no oftener.
    """
    prefixes = Prefixes(window)
    tellings: dict[UUID, list[tuple[datetime, DetectedEvent | None]]] = {}
    current: dict[UUID, DetectedEvent] = {}
    looks = _Looks(prefixes.moments(), since, window.end, detector.trigger_interval, every)
    for watermark in looks:
        first = max(since, watermark - detector.settle)
        part = prefixes.window(first - detector.look_back, watermark)
        found = {e.event_id: e for e in detector.detect(part) if first <= e.started_at < watermark}
        for event_id, event in found.items():
            if current.get(event_id) != event:
                current[event_id] = event
                tellings.setdefault(event_id, []).append((watermark, event))
        for event_id in [i for i, e in current.items() if e.started_at >= first and i not in found]:
            del current[event_id]
            tellings[event_id].append((watermark, None))
        # What is older than this can change no more.
        current = {i: e for i, e in current.items() if e.started_at >= first}
        looks.busy = any(event.state == "open" for event in found.values())
    return [Life(tuple(told)) for told in tellings.values()]


class _Looks:
    """The watermarks of a live detection."""

    def __init__(
        self, moments: list[datetime], since: datetime, until: datetime, interval: timedelta, every: timedelta
    ) -> None:
        self.busy = False
        self._moments = moments
        self._since = since
        self._until = until
        self._interval = interval
        self._every = every

    def __iter__(self) -> Iterator[datetime]:
        now = self._since
        while now < self._until:
            if self._interval:
                now += self._interval
            else:
                due = now + (self._every if self.busy else _IDLE)
                place = bisect_left(self._moments, now)
                read = self._moments[place] + _MICROSECOND if place < len(self._moments) else due
                now = min(due, read)
            now = min(now, self._until)
            yield now
