"""The nights of the orbit on simulated stations, whose sunsets are known."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from evaluation.matching import match
from evaluation.simulated import simulated_window
from iss_simulator.truth import TrueEvent
from peebot_dagster.detectors.detector import Window
from peebot_dagster.detectors.orbit import OrbitDetector

DETECTOR = OrbitDetector()
SINCE = datetime(2025, 6, 1, tzinfo=UTC)
DAYS = 1.5
HIGH_BETA_SEED = 21
"""On that day, the Sun stands 74° above the plane of its orbit."""
# A reading every 10 s, the arrays one after the other; by the voltages alone a silence of a minute is none.
TOLERANCE, WITHOUT_LINK = timedelta(seconds=45), timedelta(seconds=105)


def simulated(seed: int) -> tuple[Window, list[TrueEvent]]:
    window, truth = simulated_window(DETECTOR.items, seed, SINCE, DAYS)
    nights = [e for e in truth if e.kind == "orbital_night"]
    return window, nights


def seen(window: Window, moment: datetime) -> bool:
    """Whether the link was live around a moment."""
    assert window.live is not None
    around = timedelta(seconds=60)
    return any(i.start <= moment - around and moment + around < i.end for i in window.live)


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_each_night_is_found_and_nothing_else(seed: int) -> None:
    window, nights = simulated(seed)
    matching = match(nights, DETECTOR.detect(window), TOLERANCE)
    assert (matching.precision, matching.recall) == (1.0, 1.0)
    assert len(matching.pairs) >= 20


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_without_a_word_about_the_link_the_nights_are_the_same(seed: int) -> None:
    window, nights = simulated(seed)
    matching = match(nights, DETECTOR.detect(replace(window, live=None, lost=None)), WITHOUT_LINK)
    assert (matching.precision, matching.recall) == (1.0, 1.0)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_what_was_seen_is_told_exactly_and_with_confidence(seed: int) -> None:
    window, nights = simulated(seed)
    told = 0
    for pair in match(nights, DETECTOR.detect(window), TOLERANCE).pairs:
        truth, event = pair.truth, pair.event
        assert isinstance(truth, TrueEvent)
        if not (seen(window, truth.started_at) and seen(window, truth.ended_at)):
            continue
        told += 1
        payload = event.payload
        assert abs(pair.onset_error_s) <= 45
        assert abs(payload["night_seconds"] - (truth.ended_at - truth.started_at).total_seconds()) <= 45
        assert payload["beta_angle_deg"] == pytest.approx(truth.facts["beta_angle_deg"], abs=0.2)
        # Near 0 the length of the night hardly depends on it.
        expected = abs(float(truth.facts["beta_angle_deg"]))
        if expected > 25:
            assert payload["beta_angle_estimate_deg"] == pytest.approx(expected, abs=3)
        if payload["orbital_period_seconds"] is not None:
            assert payload["orbital_period_seconds"] == pytest.approx(5574, abs=60)
        assert event.confidence >= 0.75
    assert told >= 15


def test_where_the_sun_does_not_set_there_is_no_night() -> None:
    window, nights = simulated(HIGH_BETA_SEED)
    assert nights == []
    assert DETECTOR.detect(window) == []
    assert len(window.readings) > 10_000
