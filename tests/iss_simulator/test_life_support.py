"""The simulated water system and oxygen generator: stories with enough in them to test detectors."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from iss_simulator.oxygen_generator import FILL_VALUE, OGA_RATE, OGA_STATE, OxygenGenerator
from iss_simulator.water_system import (
    CLEAN_TANK,
    HIGH_PERCENT,
    LOW_PERCENT,
    WASTE_TANK,
    WPA_STATE,
    WPA_STEP,
    WaterSystem,
)

SINCE = datetime(2026, 5, 1, tzinfo=UTC)
DAYS = 40
END = SINCE + timedelta(days=DAYS)


@pytest.fixture(scope="module")
def water() -> WaterSystem:
    water = WaterSystem(1, SINCE)
    water.tell(END)
    return water


@pytest.fixture(scope="module")
def oxygen() -> OxygenGenerator:
    oxygen = OxygenGenerator(1, SINCE)
    oxygen.tell(END)
    return oxygen


def test_the_story_is_the_same_however_it_is_asked_for(water: WaterSystem, oxygen: OxygenGenerator) -> None:
    for whole, again in ((water, WaterSystem(1, SINCE)), (oxygen, OxygenGenerator(1, SINCE))):
        for hours in range(0, 24 * DAYS, 31):
            again.tell(SINCE + timedelta(hours=hours))
        again.tell(END)
        assert again.truth == whole.truth
        assert again.updates == whole.updates


def test_what_has_begun_is_told_to_its_end() -> None:
    for hours in (0, 31, 77, 150):
        until = SINCE + timedelta(hours=hours)
        early, late = WaterSystem(2, SINCE), WaterSystem(2, SINCE)
        early.tell(until)
        late.tell(until + timedelta(days=2))
        begun = [event for event in late.truth if event.started_at <= until]
        assert [event for event in early.truth if event.started_at <= until] == begun


def test_much_happens_to_the_tanks(water: WaterSystem) -> None:
    kinds = Counter(event.kind for event in water.truth)
    assert 12 <= kinds["water_processor_run"] <= 40
    assert kinds["water_processor_run"] == kinds["waste_tank_drain"]
    assert kinds["clean_tank_fill"] > kinds["waste_tank_drain"]
    assert min(kinds["waste_tank_fill"], kinds["clean_tank_drain"]) >= 2
    assert min(kinds["waste_water_high"], kinds["clean_water_low"]) >= 2


def test_water_flows_only_in_the_step_that_is_named_so(water: WaterSystem) -> None:
    flows = [update.ts for update in water.updates[WPA_STEP] if update.value == "4"]
    drains = [event.started_at for event in water.truth if event.kind == "waste_tank_drain"]
    for said, began in zip(flows, drains, strict=False):
        assert timedelta(0) <= began - said + timedelta(seconds=1) <= timedelta(seconds=181)


def test_flows_of_one_tank_are_far_enough_apart_to_be_told_apart(water: WaterSystem) -> None:
    for tank in (WASTE_TANK, CLEAN_TANK):
        flows = [event for event in water.truth if event.item == tank and event.ended_at > event.started_at]
        for earlier, later in pairwise(sorted(flows, key=lambda event: event.started_at)):
            assert later.started_at - earlier.ended_at >= timedelta(hours=1.9)


def test_the_limits_are_told_when_they_are_reached(water: WaterSystem) -> None:
    for event in water.truth:
        if event.kind == "clean_water_low":
            assert event.level_after == pytest.approx(LOW_PERCENT, abs=0.5)
        elif event.kind == "waste_water_high":
            assert event.level_after == pytest.approx(HIGH_PERCENT, abs=0.7)


def test_the_state_flickers_and_some_readings_are_bad(water: WaterSystem) -> None:
    states = water.updates[WPA_STATE]
    stays = [later.ts - earlier.ts for earlier, later in pairwise(states)]
    assert sum(stay < timedelta(seconds=31) for stay in stays) > 20
    bad = [update for update in water.updates[WASTE_TANK] if update.status_class != "24"]
    assert 40 < len(bad) < 250


def test_the_oxygen_generator_is_in_each_of_its_states(oxygen: OxygenGenerator) -> None:
    entered = Counter(event.facts["state_after"] for event in oxygen.truth)
    assert len(entered) == 8
    assert 2 < len(oxygen.truth) / DAYS < 8
    for earlier, later in pairwise(oxygen.truth):
        assert earlier.facts["state_after"] == later.facts["state_before"]
        assert later.started_at - earlier.started_at >= timedelta(seconds=119)


def test_the_oxygen_state_flickers_and_is_said_again(oxygen: OxygenGenerator) -> None:
    states = oxygen.updates[OGA_STATE]
    repeats = sum(earlier.value == later.value for earlier, later in pairwise(states))
    assert repeats > 30
    assert len(states) - repeats > 2 * len(oxygen.truth)


def test_the_oxygen_rate_is_at_times_the_fill_value(oxygen: OxygenGenerator) -> None:
    rates = [update.value for update in oxygen.updates[OGA_RATE]]
    assert 40 < rates.count(FILL_VALUE) < 250
    assert all(0 <= float(rate) < 6 for rate in rates if rate != FILL_VALUE)
