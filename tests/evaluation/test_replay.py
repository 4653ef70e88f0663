from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pandas as pd

from evaluation.replay import Prefixes, lives
from peebot_dagster.detectors.detector import DetectedEvent, EventState, LiveInterval, Window, event_id
from peebot_dagster.detectors.level_readings import item_readings

NOON = datetime(2025, 1, 10, 12, tzinfo=UTC)
ZERO, MINUTE = timedelta(0), timedelta(minutes=1)
Judge = Callable[[float, timedelta], EventState | None]


def at(second: float) -> datetime:
    return NOON + timedelta(seconds=second)


def window(
    *readings: tuple[float, str, float], end: float, live: tuple[LiveInterval, ...] | None = None
) -> Window:
    return Window(
        NOON,
        at(end),
        pd.DataFrame(
            {
                "ts": pd.to_datetime([at(second) for second, _, _ in readings], utc=True),
                "item": [item for _, item, _ in readings],
                "value": [value for _, _, value in readings],
                "status_class": pd.array([24] * len(readings), dtype="Int64"),
            }
        ),
        live,
    )


@dataclass(frozen=True)
class Watcher:
    """Tells of each reading, as `judge` has it for its value and its age."""

    judge: Judge
    trigger_interval: timedelta = ZERO
    name: str = "watcher"
    version: str = "1"
    items: tuple[str, ...] = ("A",)
    event_types: tuple[str, ...] = ("seen",)
    look_back: timedelta = ZERO
    settle: timedelta = 2 * MINUTE

    def detect(self, window: Window) -> list[DetectedEvent]:
        events = []
        rows = window.readings[window.readings["ts"] >= window.start]
        for ts, value in zip(rows["ts"], rows["value"], strict=True):
            state = self.judge(value, window.end - ts)
            moment = ts.to_pydatetime()
            if state is not None:
                identity = event_id(self.name, "A", moment)
                events.append(
                    DetectedEvent(identity, self.name, "1", "seen", "A", moment, moment, state, 0.5, {})
                )
        return events


def opens_and_closes(_: float, age: timedelta) -> EventState:
    return "open" if age <= timedelta(seconds=30) else "closed"


def told(detector: Watcher, of: Window) -> list[list[tuple[float, str]]]:
    return [
        [
            ((moment - NOON).total_seconds(), event.state if event else "retracted")
            for moment, event in life.tellings
        ]
        for life in lives(detector, of, NOON, timedelta(seconds=10))
    ]


def test_an_event_is_told_when_it_is_read_and_again_when_it_changes() -> None:
    assert told(Watcher(opens_and_closes), window((5, "A", 1), end=300)) == [
        [(5.000001, "open"), (35.000001, "closed")]
    ]


def test_an_event_that_is_found_no_more_was_retracted() -> None:
    detector = Watcher(lambda _, age: "open" if age < timedelta(seconds=65) else None)
    assert told(detector, window((5, "A", 1), end=300)) == [[(5.000001, "open"), (75.000001, "retracted")]]


def test_what_has_settled_is_neither_told_again_nor_retracted() -> None:
    assert told(Watcher(opens_and_closes), window((5, "A", 1), (200, "A", 2), end=300)) == [
        [(5.000001, "open"), (35.000001, "closed")],
        [(200.000001, "open"), (230.000001, "closed")],
    ]


def test_a_detector_with_a_trigger_interval_looks_that_often_but_once_a_minute_at_most() -> None:
    def first_told_at(interval_s: float) -> float:
        detector = Watcher(opens_and_closes, trigger_interval=timedelta(seconds=interval_s))
        return told(detector, window((5, "A", 1), end=600))[0][0][0]

    assert first_told_at(interval_s=120) == 120
    assert first_told_at(interval_s=5) == 60


def test_a_prefix_has_the_reading_before_it_of_each_item_and_ends_before_its_end() -> None:
    live = (LiveInterval(at(0), at(15)), LiveInterval(at(25), at(90)))
    whole = window((0, "A", 1), (1, "B", 2), (10, "A", 3), (20, "A", 4), (30, "A", 5), end=90, live=live)
    part = Prefixes(whole).window(at(20), at(30))
    rows = list(zip(part.readings["item"], part.readings["value"], strict=True))
    assert rows == [("B", 2), ("A", 3), ("A", 4)]
    assert part.live == (LiveInterval(at(25), at(30)),)
    assert Prefixes(whole).window(at(12), at(14)).live == (LiveInterval(at(12), at(14)),)
    assert Prefixes(whole).window(at(16), at(18)).live == ()
    assert item_readings(part, "A", 0, 100).value.tolist() == [3, 4]
