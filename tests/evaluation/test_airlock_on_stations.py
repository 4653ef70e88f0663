"""How right the airlock detector is on simulated stations, with their dead sensors and losses of signal."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from statistics import median

import pytest

from evaluation.matching import Matching, match
from evaluation.simulated import simulated_window
from peebot_dagster.detectors.airlock import AirlockDetector

SINCE = datetime(2026, 5, 1, tzinfo=UTC)
SEEDS = (2, 4, 6)
DETECTOR = AirlockDetector()


@pytest.fixture(scope="module")
def matchings() -> list[Matching]:
    """Per seed, what was found in a fortnight."""
    found = []
    for seed in SEEDS:
        window, truth = simulated_window(DETECTOR.items, seed, SINCE, 14)
        labels = [event for event in truth if event.kind in DETECTOR.event_types]
        found.append(match(labels, DETECTOR.detect(window), timedelta(minutes=5)))
    return found


def test_spacewalks_and_depressurisations_are_found_and_nothing_else_is(matchings: list[Matching]) -> None:
    pairs = sum(len(matching.pairs) for matching in matchings)
    false = [event for matching in matchings for event in matching.false]
    missed = [truth for matching in matchings for truth in matching.missed]
    assert pairs >= 20
    assert len(false) <= 0.03 * pairs, false
    assert len(missed) <= 0.03 * pairs, missed


def test_they_begin_when_they_were_seen_to_begin(matchings: list[Matching]) -> None:
    pairs = [pair for matching in matchings for pair in matching.pairs]
    seen = [pair.onset_error_s for pair in pairs if not pair.event.payload["hidden_since"]]
    assert median(seen) <= 20
    assert max(seen) <= 90
