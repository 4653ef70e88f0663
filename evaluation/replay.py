"""What a live detection tells in the course of time: the same detector at one watermark after the other."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

import numpy as np
import pandas as pd

from peebot_dagster.detectors.detector import DetectedEvent, Detector, LiveInterval, LostInterval, Window

_MICROSECOND = timedelta(microseconds=1)
# With nothing open and nothing read, time alone changes little.
_IDLE = timedelta(minutes=10)
_COARSE = timedelta(minutes=1)


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
    detector: Detector, window: Window, since: datetime, every: timedelta = timedelta(seconds=30)
) -> list[Life]:
    """The lives of all events that start from `since` (UTC) on, in order of their first telling.

    A detector with a trigger interval is asked that often, but once a minute at most: live detection may tell
    of its events up to a minute sooner. Another one is asked whenever a reading has come, and `every` so
    often since then while an event is open. Where nothing is open a minute is skipped if the detector has
    nothing to tell at its end: an event that is open for less than that is not seen.
    """
    replay = _Replay(detector, Prefixes(window), since)
    now = close_until = since
    while now < window.end:
        if detector.trigger_interval:
            now = min(now + max(detector.trigger_interval, _COARSE), window.end)
            replay.tell(now, replay.look(now))
            continue
        closely = replay.busy or now < close_until
        later = min(now + (every if closely else _COARSE), window.end)
        moments = replay.moments_between(now, later)
        if closely:
            later = moments[0] if moments else later
        elif not moments and later < window.end and later - replay.looked_at < _IDLE:
            now = later
            continue
        found = replay.look(later)
        if not closely and replay.is_news(found):
            close_until = later
            continue
        replay.tell(later, found)
        now = later
    return [Life(tuple(told)) for told in replay.tellings.values()]


class _Replay:
    """What has been told so far, and whether something is open."""

    def __init__(self, detector: Detector, prefixes: Prefixes, since: datetime) -> None:
        self.tellings: dict[UUID, list[tuple[datetime, DetectedEvent | None]]] = {}
        self.busy = False
        self.looked_at = since
        self._detector = detector
        self._prefixes = prefixes
        self._since = since
        self._moments = [moment + _MICROSECOND for moment in prefixes.moments()]
        self._current: dict[UUID, DetectedEvent] = {}

    def moments_between(self, start: datetime, end: datetime) -> list[datetime]:
        """The watermarks in (start, end) at which a reading has just come."""
        return self._moments[bisect_right(self._moments, start) : bisect_left(self._moments, end)]

    def look(self, watermark: datetime) -> dict[UUID, DetectedEvent]:
        """All events that may still change at a watermark."""
        self.looked_at = watermark
        first = self._first(watermark)
        part = self._prefixes.window(first - self._detector.look_back, watermark)
        return {e.event_id: e for e in self._detector.detect(part) if first <= e.started_at < watermark}

    def is_news(self, found: dict[UUID, DetectedEvent]) -> bool:
        """Whether there is anything to tell, or to wait for."""
        return any(e.state == "open" or self._current.get(i) != e for i, e in found.items())

    def tell(self, watermark: datetime, found: dict[UUID, DetectedEvent]) -> None:
        """Note what is new, and what is no longer found."""
        first = self._first(watermark)
        for event_id, event in found.items():
            if self._current.get(event_id) != event:
                self._current[event_id] = event
                self.tellings.setdefault(event_id, []).append((watermark, event))
        for event_id in [i for i, e in self._current.items() if e.started_at >= first and i not in found]:
            del self._current[event_id]
            self.tellings[event_id].append((watermark, None))
        # What is older than this can change no more.
        self._current = {i: e for i, e in self._current.items() if e.started_at >= first}
        self.busy = any(event.state == "open" for event in found.values())

    def _first(self, watermark: datetime) -> datetime:
        return max(self._since, watermark - self._detector.settle)
