"""Builders for the telemetry of a urine tank, second by second."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

from peebot_dagster.detectors.detector import DetectedEvent, LiveInterval, Window
from peebot_dagster.detectors.urine_tank import UrineTankDetector

LEVEL, STATE = "NODE3000005", "NODE3000004"
MORNING = datetime(2025, 1, 10, 6, tzinfo=UTC)
Row = tuple[datetime, str, float, int | None]


def frame(rows: Iterable[Row], snapshots: Collection[datetime] = ()) -> pd.DataFrame:
    rows = list(rows)
    readings = pd.DataFrame(
        {
            "ts": pd.to_datetime([row[0] for row in rows], utc=True),
            "item": pd.Series([row[1] for row in rows], dtype="object"),
            "value": pd.Series([row[2] for row in rows], dtype="float64"),
            "status_class": pd.Series([row[3] for row in rows], dtype="Int64"),
        }
    )
    if snapshots:
        readings["is_snapshot"] = [row[0] in snapshots for row in rows]
    return readings


@dataclass
class Tank:
    """A tank whose telemetry is written down: each verb takes up where the one before ended."""

    level: float = 20.0
    now: datetime = MORNING
    rows: list[Row] = field(default_factory=list)
    away: list[tuple[datetime, datetime]] = field(default_factory=list)
    snapshots: list[datetime] = field(default_factory=list)

    def read(self, value: float, after: float = 0.0, status: int | None = 24, snapshot: bool = False) -> Tank:
        self.now += timedelta(seconds=after)
        self.rows.append((self.now, LEVEL, value, status))
        if snapshot:
            self.snapshots.append(self.now)
        if status in (24, None):
            self.level = value
        return self

    def silent(self, seconds: float) -> Tank:
        self.now += timedelta(seconds=seconds)
        return self

    def rises(self, *pauses: float, by: float = 1.0) -> Tank:
        for pause in pauses:
            self.read(self.level + by, after=pause)
        return self

    def falls(self, *pauses: float, by: float = 1.0) -> Tank:
        return self.rises(*pauses, by=-by)

    def dithers(self, times: int, every: float = 3.0) -> Tank:
        """Flicker at the border to the value below, ending on the value it began with."""
        for _ in range(times):
            self.falls(every).rises(every)
        return self

    def known(self) -> Tank:
        """A rise by 1 % that opens the backlash band to (level - 1, level), then an hour of peace."""
        return self.read(self.level - 1).read(self.level + 1, after=300).silent(3600)

    def link_lost(self, seconds: float) -> Tank:
        self.away.append((self.now, self.now + timedelta(seconds=seconds)))
        return self.silent(seconds)

    def processor(self, state: float) -> Tank:
        self.rows.append((self.now, STATE, state, 24))
        return self

    def live(self, start: datetime, end: datetime) -> tuple[LiveInterval, ...]:
        """The LIVE intervals within [start, end): all the time since the first row, but for the losses."""
        edges = [min(row[0] for row in self.rows)]
        edges += [edge for loss in self.away for edge in loss] + [self.now + timedelta(days=1)]
        pairs = zip(edges[::2], edges[1::2], strict=True)
        clipped = (LiveInterval(max(a, start), min(b, end)) for a, b in pairs)
        return tuple(interval for interval in clipped if interval.start < interval.end)

    def window(
        self, start: datetime | None = None, end: datetime | None = None, *, link_known: bool = True
    ) -> Window:
        """What a store gives for [start, end): the readings in it, the last ones before, and the link."""
        rows = sorted(self.rows, key=lambda row: (row[0], row[2]))
        start = rows[0][0] if start is None else start
        end = self.now + timedelta(microseconds=1) if end is None else end
        carried: dict[str, Row] = {row[1]: row for row in rows if row[0] < start}
        inside = [row for row in rows if start <= row[0] < end]
        live = self.live(start, end) if link_known else None
        return Window(start, end, frame([*carried.values(), *inside], self.snapshots), live)

    def events(self, *, link_known: bool = True) -> list[DetectedEvent]:
        return UrineTankDetector().detect(self.window(link_known=link_known))

    def types(self, *, link_known: bool = True) -> list[str]:
        return [event.event_type for event in self.events(link_known=link_known)]


@dataclass(frozen=True)
class Telemetry:
    """What the tests of this room need to write telemetry down."""

    level_item: str = LEVEL
    state_item: str = STATE

    def tank(self, level: float = 20.0) -> Tank:
        return Tank(level=level)

    def window(self, readings: Sequence[Row], start: datetime, end: datetime) -> Window:
        return Window(start, end, frame(readings))

    def shuffled(self, window: Window, order: Sequence[int]) -> Window:
        return replace(window, readings=window.readings.iloc[list(order)].reset_index(drop=True))


@pytest.fixture(scope="session")
def telemetry() -> Telemetry:
    return Telemetry()


@pytest.fixture(scope="session")
def real_recording() -> Path:
    repository = Path(__file__).parents[3]
    folder = Path(os.environ.get("PEEBOT_RECORDINGS", repository.parent / "shared" / "data"))
    path = folder / "urine_tank_2024-12-26_2025-01-29.csv.gz"
    if not path.exists():
        pytest.skip("the real recording is not here; PEEBOT_RECORDINGS names the folder that it lies in")
    return path
