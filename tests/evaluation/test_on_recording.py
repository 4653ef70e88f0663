from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pandas as pd

from evaluation.labels import Label
from evaluation.on_recording import Check, RecordingResult, evaluate_on_recording
from evaluation.report import Evaluation
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


def result_of(readings: list[float], labels: list[Label]) -> RecordingResult:
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
    return evaluate_on_recording(Pump(), "a.csv", window, labels)


def agreement(readings: list[float], labels: list[Label]) -> list[Score]:
    return list(result_of(readings, labels).agreement)


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


def test_labels_that_the_detector_cannot_tell_of_are_counted_in_the_report() -> None:
    labels = [label(2000), label(3000, "pumping"), label(3500, "pumping"), label(4000, "Transfer")]
    evaluation = Evaluation(Pump(), "", None, result_of([2000], labels))
    said = "This detector tells of no such kind, so nothing is said of: 2 x pumping, 1 x Transfer."
    assert said in evaluation.markdown()
    assert said in evaluation.html()
    assert evaluation.as_json()["recording"]["unknown_labels"] == {"pumping": 2, "Transfer": 1}


def test_a_report_speaks_of_unknown_labels_only_where_there_are_some() -> None:
    evaluation = Evaluation(Pump(), "", None, result_of([2000], [label(2000)]))
    assert "nothing is said of" not in evaluation.markdown()


@dataclass(frozen=True)
class Visits(Pump):
    """Takes every rise of the level for a visit."""

    event_types: tuple[str, ...] = ("toilet_visit",)

    def detect(self, window: Window) -> list[DetectedEvent]:
        ts, value = window.readings["ts"].dt.to_pydatetime(), window.readings["value"]
        return [
            DetectedEvent(
                event_id("pump", "A", begin),
                "pump",
                "1",
                "toilet_visit",
                "A",
                begin,
                begin,
                "closed",
                0.9,
                {},
            )
            for begin, rise in zip(ts, value.diff(), strict=True)
            if rise > 0 and begin >= window.start
        ]


def visits_a_day(hours: Sequence[float]) -> Check:
    """The check on a recording with a reading at each of these hours since noon, every other one a visit."""
    moments = [NOON + timedelta(hours=hour) for hour in hours]
    readings = pd.DataFrame(
        {
            "ts": pd.to_datetime(moments, utc=True),
            "item": "A",
            "value": [20.0 + place % 2 for place in range(len(hours))],
            "status_class": pd.array([24] * len(hours), dtype="Int64"),
        }
    )
    window = Window(moments[0], moments[-1] + timedelta(seconds=1), readings)
    checks = evaluate_on_recording(Visits(), "a.csv", window).checks
    return next(check for check in checks if check.name.startswith("visits a day"))


# Eight times from noon to noon: a reading every half an hour, and silence from 22:00 to 3:00.
EIGHT_DAYS = [half / 2 for half in range(8 * 48) if not 20 <= half % 48 < 30]


def test_days_without_a_recorder_and_parts_of_days_are_no_days_with_few_visits() -> None:
    off = [hour for hour in EIGHT_DAYS if not 40 <= hour < 100]
    check = visits_a_day(off)
    assert check.holds, check.found
    assert check.found == "19.0, 19.0, 19.0 on 4 of 9 days"


def test_a_silent_night_is_part_of_a_whole_day() -> None:
    assert visits_a_day(EIGHT_DAYS).found == "19.0, 19.0, 19.0 on 7 of 9 days"


def test_a_recording_of_some_hours_says_nothing_of_the_visits_a_day() -> None:
    check = visits_a_day(EIGHT_DAYS[:20])
    assert (check.found, check.holds) == ("not judged: 0 of 1 days are whole", None)


def test_days_with_few_visits_do_not_hold_on_a_whole_recording() -> None:
    check = visits_a_day([hour * 4 for hour in range(60)])
    assert (check.found, check.holds) == ("3.0, 3.0, 3.0 on 9 of 11 days", False)
