from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.matching import match
from peebot_dagster.detectors.detector import DetectedEvent, EventState

NOON = datetime(2025, 1, 10, 12, tzinfo=UTC)
TOLERANCE = timedelta(seconds=10)


@dataclass(frozen=True)
class Label:
    kind: str
    onset: datetime


def at(second: float) -> datetime:
    return NOON + timedelta(seconds=second)


def label(second: float, kind: str = "visit") -> Label:
    return Label(kind, at(second))


def event(
    second: float, event_type: str = "toilet_visit", state: EventState = "closed", **payload: Any
) -> DetectedEvent:
    return DetectedEvent(uuid.uuid4(), "d", "1", event_type, "A", at(second), at(second), state, 0.9, payload)


def test_a_truth_and_the_event_that_tells_of_it_are_a_pair() -> None:
    matching = match([label(0), label(500)], [event(3), event(495)], TOLERANCE)
    assert matching.onset_errors_s == (3.0, -5.0)
    assert (matching.precision, matching.recall, matching.f1) == (1.0, 1.0, 1.0)


def test_what_was_missed_and_what_was_invented_are_told_apart() -> None:
    matching = match([label(0), label(500), label(900)], [event(3), event(700)], TOLERANCE)
    assert [missed.onset for missed in matching.missed] == [at(500), at(900)]
    assert [false.started_at for false in matching.false] == [at(700)]
    assert matching.precision == pytest.approx(1 / 2)
    assert matching.recall == pytest.approx(1 / 3)
    assert matching.f1 == pytest.approx(2 / 5)


@pytest.mark.parametrize(("seconds", "found"), [(10, True), (-10, True), (10.001, False), (-10.001, False)])
def test_an_event_that_begins_too_far_away_tells_of_something_else(seconds: float, found: bool) -> None:
    assert bool(match([label(0)], [event(seconds)], TOLERANCE).pairs) is found


def test_an_event_tells_of_one_truth_only_the_closest() -> None:
    matching = match([label(0), label(8)], [event(6)], TOLERANCE)
    assert [pair.truth.onset for pair in matching.pairs] == [at(8)]
    assert [missed.onset for missed in matching.missed] == [at(0)]


@pytest.mark.parametrize(
    ("kind", "event_type", "fits"),
    [
        ("visit", "toilet_visit", True),
        ("visit", "toilet_visit_masked", True),
        ("visit", "tank_transfer", False),
        ("transfer", "tank_transfer", True),
        ("transfer", "toilet_visit", False),
        ("reset", "sensor_reset", True),
        ("dribble", "dribble", True),
        ("spacewalk", "spacewalk", True),
    ],
)
def test_only_the_event_types_of_a_kind_tell_of_it(kind: str, event_type: str, fits: bool) -> None:
    assert bool(match([label(0, kind)], [event(0, event_type)], TOLERANCE).pairs) is fits


def test_an_event_out_of_sight_may_have_begun_at_any_time_since() -> None:
    hidden = event(600, "toilet_visit_masked", hidden_since=at(0).isoformat())
    for onset, found in ((-11, False), (-10, True), (300, True), (610, True), (611, False)):
        assert bool(match([label(onset)], [hidden], TOLERANCE).pairs) is found


def test_a_retracted_event_claims_nothing() -> None:
    matching = match([label(0)], [event(0, state="retracted")], TOLERANCE)
    assert (matching.pairs, matching.false, len(matching.missed)) == ((), (), 1)


def test_where_nothing_happens_and_nothing_is_claimed_all_is_right() -> None:
    matching = match([], [], TOLERANCE)
    assert (matching.precision, matching.recall, matching.f1) == (1.0, 1.0, 1.0)


@given(st.lists(st.integers(0, 200)), st.lists(st.integers(0, 200)))
def test_each_truth_and_each_event_is_accounted_for_once(onsets: list[int], begins: list[int]) -> None:
    truth, events = [label(second) for second in onsets], [event(second) for second in begins]
    matching = match(truth, events, TOLERANCE)
    told = [pair.truth.onset for pair in matching.pairs] + [missed.onset for missed in matching.missed]
    assert sorted(told) == sorted(item.onset for item in truth)
    used = [pair.event.event_id for pair in matching.pairs] + [false.event_id for false in matching.false]
    assert sorted(used) == sorted(item.event_id for item in events)
    # No pair was left out that both sides were free for.
    for missed in matching.missed:
        assert all(abs(false.started_at - missed.onset) > TOLERANCE for false in matching.false)
