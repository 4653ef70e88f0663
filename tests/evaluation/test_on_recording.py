from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pandas as pd

from evaluation.labels import Label
from evaluation.on_recording import evaluate_on_recording
from evaluation.scores import Score
from peebot_dagster.detectors.detector import DetectedEvent, Window, event_id

NOON = datetime(2025, 1, 10, 12, tzinfo=UTC)


def at(second: float) -> datetime:
    return NOON + timedelta(seconds=second)


@dataclass(frozen=True)
class Pump:
    """Takes every reading for a transfer."""

    name: str = "pump"
    version: str = "1"
    items: tuple[str, ...] = ("A",)
    event_types: tuple[str, ...] = ("tank_transfer",)
    look_back: timedelta = timedelta(0)
    settle: timedelta = timedelta(0)
    trigger_interval: timedelta = timedelta(hours=1)

    def detect(self, window: Window) -> list[DetectedEvent]:
        return [
            DetectedEvent(
                event_id("pump", "A", ts), "pump", "1", "tank_transfer", "A", ts, ts, "closed", 0.9, {}
            )
            for ts in window.readings["ts"].dt.to_pydatetime()
            if ts >= window.start
        ]


def agreement(readings: list[float], labels: list[Label]) -> list[Score]:
    window = Window(
        NOON,
        at(10_000),
        pd.DataFrame(
            {
                "ts": pd.to_datetime([at(second) for second in readings], utc=True),
                "item": "A",
                "value": 1.0,
                "status_class": pd.array([24] * len(readings), dtype="Int64"),
            }
        ),
    )
    return list(evaluate_on_recording(Pump(), "a.csv", window, labels).agreement)


def label(second: float, kind: str = "transfer") -> Label:
    return Label(kind, at(second), at(second))


def test_labels_of_a_part_say_nothing_of_the_rest_of_a_recording() -> None:
    (score,) = agreement([100, 2000, 4000, 9000], [label(2000), label(5000)])
    assert (score.found, score.missed, score.false) == (1, 1, 1)


def test_names_of_one_kind_are_one_row_and_a_false_event_counts_once() -> None:
    labels = [label(2000), label(3000, "tank_transfer")]
    (score,) = agreement([2000, 2500, 3000], labels)
    assert (score.name, score.found, score.missed, score.false) == ("transfer", 2, 0, 1)


def test_labels_of_nothing_agree_with_nothing() -> None:
    assert agreement([2000], []) == []
