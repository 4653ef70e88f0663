from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest

from evaluation.beside_naive_rules import naive_on_recording, naive_on_stations
from evaluation.labels import Label
from evaluation.matching import match
from evaluation.naive_rules import RULES
from evaluation.on_stations import replay_runs
from evaluation.scores import Score
from evaluation.station_run import StationRun
from iss_simulator.truth import TrueEvent
from peebot_dagster.detectors.detector import DetectedEvent, LiveInterval, LostInterval, Window, event_id
from peebot_dagster.detectors.urine_tank import UrineTankDetector

NOON = datetime(2025, 1, 10, 12, tzinfo=UTC)
DETECTOR = UrineTankDetector()
ANY_RISE = next(iter(RULES))


def at(second: float) -> datetime:
    return NOON + timedelta(seconds=second)


def tank(*readings: tuple[float, float], end: float, lost: tuple[float, float] | None = None) -> Window:
    live = ((0.0, end),) if lost is None else ((0.0, lost[0]), (lost[1], end))
    return Window(
        NOON,
        at(end),
        pd.DataFrame(
            {
                "ts": pd.to_datetime([at(second) for second, _ in readings], utc=True),
                "item": DETECTOR.level_item,
                "value": [value for _, value in readings],
                "status_class": pd.array([24] * len(readings), dtype="Int64"),
            }
        ),
        tuple(LiveInterval(at(start), at(stop)) for start, stop in live),
        None if lost is None else (LostInterval(at(lost[0]), at(lost[1])),),
    )


def visit(second: float, masked: bool = False) -> TrueEvent:
    return TrueEvent("visit", DETECTOR.level_item, at(second), at(second + 20), masked=masked)


def told(second: float, **payload: str) -> DetectedEvent:
    identity = event_id("d", "A", at(second))
    return DetectedEvent(
        identity, "d", "1", "toilet_visit", "A", at(second), at(second), "closed", 0.9, payload
    )


def run(
    window: Window, *known: TrueEvent, claimed: tuple[DetectedEvent, ...] = (), until: float
) -> StationRun:
    return StationRun(1, NOON, at(until), window, known, claimed, match(known, claimed, timedelta(0)))


def scores(of: StationRun) -> dict[str, tuple[int, int, int]]:
    return {name: (s.found, s.missed, s.false) for name, s in named(naive_on_stations(DETECTOR, [of]))}


def named(rows: list[tuple[Score, int]]) -> list[tuple[str, Score]]:
    return [(score.name, score) for score, _ in rows]


def test_ours_and_the_rules_are_measured_over_the_same_time() -> None:
    window = tank((0, 5), (100, 6), (800, 7), end=1000)
    of = run(window, visit(100), claimed=(told(100), told(800)), until=600)
    assert scores(of)["urine_tank"] == scores(of)[ANY_RISE] == (1, 0, 0)
    longer = replace(of, until=at(900))
    assert scores(longer)["urine_tank"] == scores(longer)[ANY_RISE] == (1, 0, 1)


def test_what_was_out_of_sight_gives_ours_no_more_time_than_a_rule_has() -> None:
    window = tank((0, 5), (500, 6), end=1000)
    hidden = told(500, hidden_since=at(90).isoformat())
    of = run(window, visit(100), claimed=(hidden,), until=1000)
    assert scores(of)["urine_tank"] == scores(of)[ANY_RISE] == (0, 1, 1)


def test_what_can_only_be_told_of_a_loss_counts_neither_for_nor_against_a_rule() -> None:
    window = tank((0, 5), (500, 6), end=1000, lost=(90, 490))
    of = run(window, visit(100, masked=True), claimed=(told(500),), until=1000)
    assert scores(of)["urine_tank"] == scores(of)[ANY_RISE] == (0, 0, 0)


def test_on_a_recording_only_the_time_of_the_labels_counts() -> None:
    window = tank((0, 5), (1000, 6), (2000, 7), end=3000)
    events = [told(1000), told(2000)]
    rows = named(list(naive_on_recording(DETECTOR, window, events, [Label("visit", at(1000), at(1020))])))
    assert {name: (s.found, s.false) for name, s in rows if name in ("urine_tank", ANY_RISE)} == {
        "urine_tank": (1, 0),
        ANY_RISE: (1, 0),
    }


@dataclass(frozen=True)
class LossWatcher(UrineTankDetector):
    """Notes whether it was told that the signal was lost."""

    @property
    def trigger_interval(self) -> timedelta:
        return timedelta(minutes=10)

    def detect(self, window: Window) -> list[DetectedEvent]:
        return [told(100)] if window.lost else []


@pytest.mark.parametrize(("lost", "lives"), [((300.0, 400.0), 1), (None, 0)])
def test_a_replay_knows_of_the_losses_of_signal(lost: tuple[float, float] | None, lives: int) -> None:
    of = run(tank((0, 5), (1000, 6), end=7200, lost=lost), until=4800)
    ((_, told_in_time, _),) = replay_runs(LossWatcher(), [of], 1.0, lambda _: None)
    assert len(told_in_time) == lives
