"""A crew lock whose telemetry is written down act by act, and what the detector makes of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pandas as pd

from peebot_dagster.detectors.airlock import AirlockDetector
from peebot_dagster.detectors.detector import DetectedEvent, LiveInterval, Window

DETECTOR = AirlockDetector()
LOCK, EQUIPMENT, PUMP, SUIT, MODE = (
    "AIRLOCK000049",
    "AIRLOCK000054",
    "AIRLOCK000047",
    "AIRLOCK000001",
    "USLAB000086",
)
MORNING = datetime(2025, 1, 10, 6, tzinfo=UTC)
MINUTE, HOUR = 60, 3600


@dataclass
class Lock:
    """A crew lock whose telemetry is written down: each verb takes up where the one before ended."""

    pressure: float = 745.0
    now: datetime = MORNING
    rows: list[tuple[datetime, str, float, int]] = field(default_factory=list)
    away: list[tuple[datetime, datetime]] = field(default_factory=list)

    def read(self, value: float, after: float = 0.0, status: int = 24) -> Lock:
        self.now += timedelta(seconds=after)
        self.rows.append((self.now, LOCK, value, status))
        return self

    def rest(self, seconds: float, every: float = 60.0, noise: float = 0.3) -> Lock:
        """Stay where it is; the readings tell of a little noise."""
        for number in range(int(seconds // every)):
            self.read(self.pressure + (noise if number % 2 else -noise), after=every)
        return self

    def silent(self, seconds: float) -> Lock:
        self.now += timedelta(seconds=seconds)
        return self

    def goes_to(self, goal: float, per_minute: float, every: float = 5.0) -> Lock:
        """Move on a straight line, read every few seconds."""
        step = per_minute / 60 * every * (1 if goal > self.pressure else -1)
        while abs(goal - self.pressure) > abs(step):
            self.pressure += step
            self.read(self.pressure, after=every)
        self.pressure = goal
        return self.read(goal, after=every)

    def link_lost(self, seconds: float) -> Lock:
        self.away.append((self.now + timedelta(seconds=1), self.now + timedelta(seconds=seconds)))
        return self.silent(seconds)

    def context(self, item: str, value: float) -> Lock:
        self.rows.append((self.now, item, value, 24))
        return self

    def window(
        self, start: datetime | None = None, end: datetime | None = None, *, link_known: bool = True
    ) -> Window:
        """What a store gives for [start, end): the readings in it, the last ones before, and the link."""
        rows = sorted(self.rows, key=lambda row: (row[0], row[3], row[2]))
        start = rows[0][0] if start is None else start
        end = self.now + timedelta(microseconds=1) if end is None else end
        carried = {row[1]: row for row in rows if row[0] < start}
        inside = [row for row in rows if start <= row[0] < end]
        live = tuple(self._live(start, end)) if link_known else None
        return Window(start, end, frame([*carried.values(), *inside]), live)

    def _live(self, start: datetime, end: datetime) -> Iterator[LiveInterval]:
        edges = [start, *(edge for gap in self.away for edge in gap), end]
        for begin, until in zip(edges[::2], edges[1::2], strict=True):
            clipped = LiveInterval(max(begin, start), min(until, end))
            if clipped.start < clipped.end:
                yield clipped

    def events(self, *, link_known: bool = True) -> list[DetectedEvent]:
        return DETECTOR.detect(self.window(link_known=link_known))


def frame(rows: Iterable[tuple[datetime, str, float, int]]) -> pd.DataFrame:
    rows = list(rows)
    return pd.DataFrame(
        {
            "ts": pd.to_datetime([row[0] for row in rows], utc=True),
            "item": pd.Series([row[1] for row in rows], dtype="object"),
            "value": pd.Series([row[2] for row in rows], dtype="float64"),
            "status_class": pd.Series([row[3] for row in rows], dtype="Int64"),
        }
    )


def prepared() -> Lock:
    """Two hours of peace; the pump, the suits and the station are ready."""
    lock = Lock().read(745.0).context(EQUIPMENT, 745.0).rest(2 * HOUR)
    return lock.context(PUMP, 1).context(SUIT, 18.5).context(MODE, 16)


def emptied(lock: Lock) -> Lock:
    """As it is done: to 5 psi, a leak check, and on to vacuum."""
    return lock.goes_to(259, per_minute=35).rest(5 * MINUTE, every=5).goes_to(0.5, per_minute=12)


def filled(lock: Lock) -> Lock:
    return lock.goes_to(259, per_minute=90).rest(3 * MINUTE, every=5).goes_to(745, per_minute=60)


def types(events: list[DetectedEvent]) -> list[str]:
    return [event.event_type for event in events]
