"""Loss of signal on simulated stations, whose gaps are known."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from evaluation.matching import match
from evaluation.simulated import simulated_window
from iss_simulator.truth import TrueEvent
from peebot_dagster.detectors.detector import Window
from peebot_dagster.detectors.signal import SignalDetector

DETECTOR = SignalDetector()
SINCE = datetime(2025, 6, 1, tzinfo=UTC)


@pytest.fixture(scope="module", params=[1, 2, 3])
def simulated(request: pytest.FixtureRequest) -> tuple[Window, list[TrueEvent]]:
    return simulated_window(DETECTOR.items, request.param, SINCE, days=1.0)


def of_kind(truth: list[TrueEvent], *kinds: str) -> list[TrueEvent]:
    return [event for event in truth if event.kind in kinds]


def test_where_the_link_is_known_each_los_is_found_and_no_outage_is_called_one(
    simulated: tuple[Window, list[TrueEvent]],
) -> None:
    window, truth = simulated
    matching = match(of_kind(truth, "los"), DETECTOR.detect(window), timedelta(seconds=2))
    assert (matching.precision, matching.recall) == (1.0, 1.0)
    assert len(matching.pairs) > 25


def test_by_the_ticks_alone_each_gap_is_found_within_two_seconds(
    simulated: tuple[Window, list[TrueEvent]],
) -> None:
    window, truth = simulated
    unlinked = replace(window, live=None, lost=None)
    # By the ticks, nobody can tell that the feed was away and not the station.
    gaps = [replace(event, kind="los") for event in of_kind(truth, "los", "outage")]
    events = [e for e in DETECTOR.detect(unlinked) if e.event_type == "signal_loss"]
    matching = match(gaps, events, timedelta(seconds=2))
    assert (matching.precision, matching.recall) == (1.0, 1.0)
    for pair in matching.pairs:
        lasted = pair.event.payload["duration_seconds"]
        assert isinstance(pair.truth, TrueEvent)
        if lasted is not None:
            assert abs(lasted - (pair.truth.ended_at - pair.truth.started_at).total_seconds()) <= 2


def test_a_loss_is_announced_where_the_station_said_so(simulated: tuple[Window, list[TrueEvent]]) -> None:
    window, _ = simulated
    told = window.readings[window.readings["status_class"] != 24]["ts"]
    losses = [e for e in DETECTOR.detect(window) if e.event_type == "signal_loss"]
    assert sum(event.payload["announced"] for event in losses) == len(told)
    assert 0 < len(told) < len(losses)
