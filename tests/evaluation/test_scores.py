from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from evaluation.matching import match
from evaluation.replay import Life
from evaluation.scores import (
    Delays,
    NumberErrors,
    delays,
    errors_of,
    false_alarms,
    number_errors,
    percentile,
    score,
    taken_for,
)
from peebot_dagster.detectors.detector import DetectedEvent, EventState

NOON = datetime(2025, 1, 10, 12, tzinfo=UTC)
TOLERANCE = timedelta(seconds=10)
IDENTITY = uuid.uuid4()


def at(second: float) -> datetime:
    return NOON + timedelta(seconds=second)


@dataclass(frozen=True)
class Truth:
    onset: datetime
    kind: str = "visit"
    ended_at: datetime = NOON
    steps: int = 0
    masked: bool = False
    facts: Mapping[str, float | str] = field(default_factory=dict)


def event(
    second: float = 0,
    event_type: str = "toilet_visit",
    state: EventState = "closed",
    confidence: float = 0.9,
    **payload: Any,
) -> DetectedEvent:
    return DetectedEvent(
        IDENTITY, "d", "1", event_type, "A", at(second), at(second), state, confidence, payload
    )


def test_a_score_counts_only_what_is_wanted() -> None:
    truth = [Truth(at(0), steps=2), Truth(at(100), steps=3), Truth(at(200), steps=3, masked=True)]
    events = [event(1, amount_percent=2), event(300, amount_percent=3), event(400, amount_percent=2)]
    matching = match(truth, events, TOLERANCE)
    whole = score("all", [matching], lambda amount, masked: True)
    assert (whole.found, whole.missed, whole.false) == (1, 2, 2)
    assert (whole.precision, whole.recall, whole.f1) == (pytest.approx(1 / 3), pytest.approx(1 / 3), 1 / 3)
    threes = score("3 %", [matching], lambda amount, masked: amount == 3 and not masked)
    assert (threes.found, threes.missed, threes.false) == (0, 1, 1)


def test_an_amount_is_compared_wherever_the_truth_knows_it() -> None:
    truth = Truth(at(0), steps=3, facts={"leak_psi": 2.0, "where": "lock"})
    (pair,) = match([truth], [event(0, amount_percent=4, leak_psi=1.5, where="lock")], TOLERANCE).pairs
    assert errors_of(pair) == {"amount_percent": 1.0, "leak_psi": -0.5}


def test_numbers_of_other_units_are_not_counted_with_the_amounts() -> None:
    truth = Truth(at(0), steps=3, facts={"leak_psi": 2.0})
    matching = match([truth], [event(0, amount_percent=4, leak_psi=1.5)], TOLERANCE)
    assert score("all", [matching], lambda amount, masked: True).amount_errors == (1.0,)
    assert number_errors(matching.pairs) == (NumberErrors("visit", "leak_psi", (-0.5,)),)


def test_a_truth_is_taken_for_something_else_when_that_begins_in_its_time() -> None:
    truth = [Truth(at(0), "transfer", at(60)), Truth(at(500), "visit", at(520))]
    events = [event(30), event(70), event(505), event(510, "dribble")]
    assert taken_for(truth, events, TOLERANCE) == {("transfer", "toilet_visit"): 1, ("visit", "dribble"): 1}


def life(*tellings: tuple[float, DetectedEvent | None]) -> Life:
    return Life(tuple((at(second), told) for second, told in tellings))


def test_delays_are_counted_from_the_onset_to_the_first_telling_of_the_final_type() -> None:
    told = life(
        (1, event(0, "dribble", "open", 0.3)),
        (6, event(0, state="open", confidence=0.6)),
        (40, event(0, state="open", confidence=0.85)),
        (130, event(0)),
    )
    assert delays([(at(0), event(0))], [told]) == Delays((6.0,), (40.0,), (130.0,))
    assert delays([(at(0), event(0, masked=True))], [told]) == Delays()


def test_what_was_sure_and_came_to_nothing_is_a_false_alarm() -> None:
    grown = life((1, event(confidence=0.85)), (90, event(event_type="tank_transfer")))
    withdrawn = life((1, event(confidence=0.85)), (90, None))
    doubtful = life((1, event(confidence=0.6)), (90, None))
    right = life((1, event(confidence=0.85)), (90, event()))

    def alarms(*lives: Life) -> Mapping[str, int]:
        return false_alarms(lives, lambda e: e.event_type == "tank_transfer" or lives == (right,))

    assert alarms(grown) == {"toilet_visit": 1}
    assert alarms(withdrawn) == {"toilet_visit": 1}
    assert alarms(doubtful) == {}
    assert alarms(right) == {}


def test_percentiles_of_nothing_and_of_one() -> None:
    assert percentile([], 50) is None
    assert percentile([7.0], 95) == 7.0
    assert percentile([1.0, 2.0, 3.0], 50) == 2.0
