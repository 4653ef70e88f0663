"""How right the attitude detector is on simulated stations, with their flickers and losses of signal."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from statistics import median

import pytest

from evaluation.matching import Matching, Pair, match
from evaluation.simulated import simulated_window
from iss_simulator.truth import TrueEvent
from peebot_dagster.detectors.attitude import AttitudeDetector

SINCE = datetime(2026, 5, 1, tzinfo=UTC)
SEEDS = (1, 2, 3)
DETECTOR = AttitudeDetector()


@pytest.fixture(scope="module")
def matchings() -> list[Matching]:
    """Per seed, what was found in ten days."""
    found = []
    for seed in SEEDS:
        window, truth = simulated_window(DETECTOR.items, seed, SINCE, 10)
        labels = [event for event in truth if event.kind in DETECTOR.event_types]
        found.append(match(labels, DETECTOR.detect(window), timedelta(seconds=30)))
    return found


def in_sight(matchings: list[Matching]) -> list[Pair]:
    pairs = [pair for matching in matchings for pair in matching.pairs]
    return [pair for pair in pairs if not pair.event.payload["hidden_since"]]


def test_changes_turns_and_saturations_are_found_and_nothing_else_is(matchings: list[Matching]) -> None:
    pairs = sum(len(matching.pairs) for matching in matchings)
    false = [event for matching in matchings for event in matching.false]
    missed = [truth for matching in matchings for truth in matching.missed]
    assert pairs >= 60
    assert len(false) <= 0.03 * pairs, false
    # Two changes in one gap are heard as one.
    assert len(missed) <= 0.05 * pairs, missed


def test_what_begins_in_sight_is_told_to_the_second(matchings: list[Matching]) -> None:
    errors = [pair.onset_error_s for pair in in_sight(matchings)]
    assert median(errors) <= 1
    assert max(errors) <= 11


def test_angles_are_right_within_the_swing_of_an_orbit(matchings: list[Matching]) -> None:
    turns = [pair for pair in in_sight(matchings) if pair.event.event_type == "station_manoeuvre"]
    assert len(turns) >= 15
    for pair in turns:
        assert isinstance(pair.truth, TrueEvent)
        assert pair.event.payload["angle_deg"] == pytest.approx(pair.truth.facts["angle_deg"], abs=1.5)


def test_the_modes_are_those_of_the_truth(matchings: list[Matching]) -> None:
    changes = [pair for pair in in_sight(matchings) if pair.event.event_type == "attitude_mode_change"]
    for pair in changes:
        assert isinstance(pair.truth, TrueEvent)
        assert pair.event.payload["from"] == pair.truth.facts["from"]
        assert pair.event.payload["to"] == pair.truth.facts["to"]
