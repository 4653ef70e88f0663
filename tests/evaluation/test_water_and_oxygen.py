"""How right the detectors of the life-support system are, judged by the simulated station's own account."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cache

import numpy as np
import pytest

from evaluation.forecasts import forecast_scores
from evaluation.matching import Matching, event_types_of, match
from evaluation.simulated import simulated_window
from evaluation.station_run import run_station
from iss_simulator.conditions import MEASURED
from iss_simulator.oxygen_generator import OgaState
from iss_simulator.truth import TrueEvent
from iss_simulator.urine_processor import PROCESSING_PERCENT_PER_S
from peebot_dagster.detectors.detector import DetectedEvent
from peebot_dagster.detectors.oxygen_generator import OGA_STATES
from peebot_dagster.detectors.registry import DETECTORS

SINCE = datetime(2026, 5, 1, tzinfo=UTC)
DAYS = 10
SEEDS = (1, pytest.param(2, marks=pytest.mark.slow), pytest.param(3, marks=pytest.mark.slow))
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
PUMPED = ("waste_tank_drain", "waste_tank_fill", "clean_tank_drain", "clean_tank_fill")


@cache
def judged(name: str, seed: int) -> tuple[list[TrueEvent], list[DetectedEvent]]:
    """All that happened and all that was told, without what the ends of the window cut."""
    window, truth = simulated_window(DETECTORS[name].items, seed, SINCE, DAYS)
    events = DETECTORS[name].detect(window)
    last = window.end - 20 * HOUR

    def is_whole(moment: datetime) -> bool:
        return SINCE + HOUR < moment < last

    return [t for t in truth if is_whole(t.started_at)], [e for e in events if is_whole(e.started_at)]


def matching(name: str, seed: int, kinds: Sequence[str], tolerance: timedelta) -> Matching:
    types = {event_type for kind in kinds for event_type in event_types_of(kind)}
    truth, events = judged(name, seed)
    return match(
        [t for t in truth if t.kind in kinds], [e for e in events if e.event_type in types], tolerance
    )


each_seed = pytest.mark.parametrize("seed", SEEDS)


@each_seed
def test_every_processing_cycle_is_found_and_none_is_invented(seed: int) -> None:
    found = matching("upa_cycle", seed, ("drain",), MINUTE)
    assert len(found.pairs) >= 8
    assert (found.precision, found.recall) == (1.0, 1.0)


@each_seed
def test_the_amount_processed_is_right_with_visits_in_between(seed: int) -> None:
    errors = []
    for pair in matching("upa_cycle", seed, ("drain",), MINUTE).pairs:
        payload, truth = pair.event.payload, pair.truth
        assert isinstance(truth, TrueEvent)
        if payload["masked"] or payload["end_hidden_since"] or payload["state_after"] is None:
            continue
        drained = (truth.ended_at - truth.started_at).total_seconds() * PROCESSING_PERCENT_PER_S
        errors.append(abs(payload["amount_percent"] - drained))
        assert payload["rate_percent_per_hour"] == pytest.approx(10.8, abs=0.6)
    assert np.median(errors) < 0.5
    assert max(errors) < 3


@each_seed
def test_every_phase_of_the_tanks_is_found_and_none_is_invented(seed: int) -> None:
    found = matching("water_tanks", seed, PUMPED, 15 * MINUTE)
    assert len(found.pairs) > 8
    assert len(found.missed) + len(found.false) <= 1
    assert np.median(np.abs(found.onset_errors_s)) < 180


@each_seed
def test_the_rate_and_the_amount_of_a_phase_are_right(seed: int) -> None:
    rates, amounts = [], []
    for pair in matching("water_tanks", seed, PUMPED, 15 * MINUTE).pairs:
        truth, payload = pair.truth, pair.event.payload
        assert isinstance(truth, TrueEvent)
        true_rate = truth.amount_percent / ((truth.ended_at - truth.started_at) / HOUR)
        rates.append(abs(payload["rate_percent_per_hour"] / true_rate - 1))
        amounts.append(abs(payload["amount_percent"] - abs(truth.amount_percent)))
    assert np.median(rates) < 0.03
    assert np.percentile(rates, 90) < 0.15
    assert np.median(amounts) < 0.5


@each_seed
def test_every_run_of_the_water_processor_is_found(seed: int) -> None:
    found = matching("water_tanks", seed, ("water_processor_run",), MINUTE)
    assert len(found.pairs) >= 4
    assert (found.precision, found.recall) == (1.0, 1.0)


@pytest.mark.slow
def test_each_low_and_each_high_level_was_forecast_and_most_came_within_the_interval() -> None:
    detector = DETECTORS["water_tanks"]
    runs = [run_station(detector, seed, DAYS, MEASURED, 15 * MINUTE) for seed in range(1, 7)]

    scores = forecast_scores(detector, runs)

    assert {score.kind for score in scores} == {"clean_water_low", "waste_water_high"}
    reached = sum(score.reached for score in scores)
    assert reached >= 12
    assert sum(score.foretold for score in scores) == reached
    within, sooner, late = (
        sum(score.outcomes[outcome] for score in scores) for outcome in ("within", "sooner", "later or never")
    )
    assert within >= 0.6 * (within + sooner + late)


@each_seed
def test_every_state_of_the_oxygen_generator_that_could_be_seen_is_told(seed: int) -> None:
    found = matching("oxygen_generator", seed, ("oxygen_state_change",), timedelta(seconds=2))
    assert len(found.pairs) > 25
    assert found.precision >= 0.97
    # Of several changes in one loss of signal the last one is told.
    assert all(isinstance(one, TrueEvent) and one.masked for one in found.missed)
    for pair in found.pairs:
        truth, payload = pair.truth, pair.event.payload
        assert isinstance(truth, TrueEvent)
        if truth.masked or payload["masked"]:
            continue
        told = (payload["state_before"], payload["state_after"])
        true = (truth.facts["state_before"], truth.facts["state_after"])
        assert told == tuple(OGA_STATES[OgaState[str(state)]] for state in true)
        assert abs(pair.onset_error_s) < 1


@each_seed
def test_the_oxygen_rates_are_those_of_the_generator(seed: int) -> None:
    errors = []
    for pair in matching("oxygen_generator", seed, ("oxygen_state_change",), timedelta(seconds=2)).pairs:
        truth, payload = pair.truth, pair.event.payload
        assert isinstance(truth, TrueEvent)
        if payload["rate_after_kg_per_day"] is not None:
            errors.append(abs(payload["rate_after_kg_per_day"] - float(truth.facts["rate_after_kg_per_day"])))
    assert np.median(errors) < 0.1
    # A state that is left within minutes leaves the rate no time to follow.
    assert np.percentile(errors, 75) < 0.5


@each_seed
@pytest.mark.parametrize(
    ("name", "most_a_day"), [("upa_cycle", 2), ("water_tanks", 6), ("oxygen_generator", 8)]
)
def test_events_are_few(name: str, most_a_day: int, seed: int) -> None:
    _, events = judged(name, seed)
    assert 0 < len(events) / DAYS <= most_a_day
