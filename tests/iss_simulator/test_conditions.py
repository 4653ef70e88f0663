from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from iss_simulator.conditions import MEASURED, Conditions
from iss_simulator.link_stretches import link_stretches
from iss_simulator.station import Station
from iss_simulator.truth import TrueEvent
from iss_simulator.urine_tank import LEVEL_ITEM

SINCE = datetime(2025, 12, 30, tzinfo=UTC)
UNTIL = SINCE + timedelta(days=2)


def station(conditions: Conditions, seed: int = 5) -> Station:
    return Station(seed, SINCE, conditions=conditions)


def lost_share(conditions: Conditions) -> float:
    stretches = link_stretches(station(conditions), SINCE, UNTIL)
    lost = sum((s.end - s.start for s in stretches if s.state != "LIVE"), timedelta(0))
    return lost / (UNTIL - SINCE)


def test_the_measured_conditions_are_those_of_a_station_without_any() -> None:
    plain = list(Station(5, SINCE).updates(UNTIL, {LEVEL_ITEM}))
    assert list(station(MEASURED).updates(UNTIL, {LEVEL_ITEM})) == plain


def test_a_wider_dither_toggles_more_often_and_adds_no_steps() -> None:
    few, many = (station(Conditions(dither_half_width=width)) for width in (0.02, 0.4))
    counts = [sum(1 for _ in each.updates(UNTIL, {LEVEL_ITEM})) for each in (few, many)]
    assert counts[1] > 4 * counts[0]
    for event in many.truth_until(UNTIL):
        if event.kind == "visit":
            assert 2 <= event.steps <= 10


@pytest.mark.parametrize(("fewer", "more"), [(0.1, 1.0), (1.0, 8.0)])
def test_the_signal_is_lost_more_often(fewer: float, more: float) -> None:
    assert lost_share(Conditions(losses=fewer)) < 0.6 * lost_share(Conditions(losses=more))


def test_on_a_crowded_station_events_come_close_and_transfers_are_small_slow_and_made_in_a_drain() -> None:
    def tank(conditions: Conditions) -> list[TrueEvent]:
        story = [e for seed in range(1, 5) for e in station(conditions, seed).truth_until(UNTIL)]
        return sorted((e for e in story if e.kind in ("visit", "dribble", "transfer")), key=lambda e: e.onset)

    def transfers(events: list[TrueEvent]) -> list[TrueEvent]:
        return [event for event in events if event.kind == "transfer"]

    plain, crowded = tank(MEASURED), tank(Conditions(crowded=True))
    assert all(event.steps >= 11 and not event.upa_processing for event in transfers(plain))
    assert any(event.steps < 11 for event in transfers(crowded))
    assert any(event.upa_processing for event in transfers(crowded))
    slow = [(e.ended_at - e.started_at).total_seconds() / e.steps for e in transfers(crowded)]
    assert max(slow) > 10
