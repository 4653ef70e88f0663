"""The simulated airlock: what is told of a spacewalk is what happens."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from iss_simulator.airlock import CREW_LOCK, EQUIPMENT_LOCK, Airlock
from iss_simulator.truth import TrueEvent

SINCE = datetime(2026, 5, 1, tzinfo=UTC)
DAYS = 60


@pytest.fixture(scope="module")
def airlock() -> Airlock:
    """An airlock with sixty days behind it."""
    airlock = Airlock(2, SINCE)
    airlock.tell(SINCE + timedelta(days=DAYS))
    return airlock


def of_kind(airlock: Airlock, kind: str) -> list[TrueEvent]:
    return [event for event in airlock.truth if event.kind == kind]


def pressures(airlock: Airlock, item: str, start: datetime, end: datetime) -> list[float]:
    """What was read with a good status."""
    return [float(u.value) for u in airlock.updates[item] if start <= u.ts < end and u.status_class == "24"]


def test_there_is_a_spacewalk_now_and_then(airlock: Airlock) -> None:
    walks = of_kind(airlock, "spacewalk")
    assert 5 <= len(walks) <= 25
    hours = [(walk.ended_at - walk.started_at) / timedelta(hours=1) for walk in walks]
    assert all(3.5 < duration < 9.2 for duration in hours)
    assert len(of_kind(airlock, "airlock_depressurisation")) == len(walks)


def test_the_crew_lock_is_empty_during_a_spacewalk_and_the_equipment_lock_is_not(airlock: Airlock) -> None:
    for walk in of_kind(airlock, "spacewalk"):
        span = (walk.started_at + timedelta(seconds=30), walk.ended_at)
        assert max(pressures(airlock, CREW_LOCK, *span)) < 26
        assert min(pressures(airlock, EQUIPMENT_LOCK, *span)) > 700


def test_a_fall_that_stops_on_the_way_is_told_as_a_partial_one(airlock: Airlock) -> None:
    partial = of_kind(airlock, "airlock_partial_depressurisation")
    assert {event.facts["lowest_pressure_mmhg"] for event in partial} == {259.0, 527.0}
    for event in partial:
        lowest = min(pressures(airlock, CREW_LOCK, event.started_at, event.ended_at))
        assert lowest == pytest.approx(event.facts["lowest_pressure_mmhg"], abs=2)


def test_no_item_is_told_of_more_than_once_a_second_and_hardly_at_rest(airlock: Airlock) -> None:
    for updates in airlock.updates.values():
        assert all(later.ts - earlier.ts >= timedelta(seconds=0.9) for earlier, later in pairwise(updates))
    assert len(airlock.updates[CREW_LOCK]) < DAYS * 4000


def test_the_story_does_not_depend_on_how_often_it_is_asked_for(airlock: Airlock) -> None:
    stepwise = Airlock(2, SINCE)
    for hour in range(10 * 24 + 1):
        now = SINCE + timedelta(hours=hour)
        stepwise.tell(now)
        began = [event for event in airlock.truth if event.started_at <= now]
        assert [event for event in stepwise.truth if event.started_at <= now] == began
    for item, updates in airlock.updates.items():
        assert [u for u in stepwise.updates[item] if u.ts <= now] == [u for u in updates if u.ts <= now]
