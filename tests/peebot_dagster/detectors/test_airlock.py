"""Depressurisations and spacewalks, written down as the pressure of the crew lock."""

from __future__ import annotations

from datetime import timedelta

import pytest

from peebot_dagster.detectors.detector import DetectedEvent
from tests.peebot_dagster.detectors.crew_lock import (
    DETECTOR,
    EQUIPMENT,
    HOUR,
    MINUTE,
    PUMP,
    SUIT,
    Lock,
    emptied,
    filled,
    prepared,
    types,
)


def test_a_spacewalk_is_told_with_the_depressurisation_before_it() -> None:
    lock = prepared()
    began = lock.now
    empty = emptied(lock).now
    opened = lock.rest(6.5 * HOUR).now
    depressurisation, spacewalk = filled(lock).rest(HOUR).events()
    assert depressurisation.event_type == "airlock_depressurisation"
    assert timedelta(0) <= depressurisation.started_at - began < timedelta(seconds=20)
    assert depressurisation.ended_at == spacewalk.started_at
    assert spacewalk.event_type == "spacewalk"
    assert empty - timedelta(minutes=3) < spacewalk.started_at < empty
    assert spacewalk.ended_at is not None
    assert opened < spacewalk.ended_at < opened + timedelta(minutes=1)
    assert spacewalk.payload["duration_seconds"] == pytest.approx(6.5 * HOUR, abs=3 * MINUTE)
    assert [event.state for event in (depressurisation, spacewalk)] == ["closed", "closed"]
    assert [event.confidence for event in (depressurisation, spacewalk)] == [0.95, 0.95]


def test_a_depressurisation_is_told_while_the_pressure_falls_and_gets_surer_with_the_depth() -> None:
    lock = prepared().goes_to(640, per_minute=35)
    (early,) = lock.events()
    (deeper,) = lock.goes_to(400, per_minute=35).events()
    (deepest,) = lock.goes_to(150, per_minute=35).events()
    assert {event.event_type for event in (early, deeper, deepest)} == {"airlock_depressurisation"}
    assert [event.state for event in (early, deeper, deepest)] == ["open"] * 3
    assert early.event_id == deeper.event_id == deepest.event_id
    assert early.confidence < deeper.confidence < deepest.confidence


def test_a_leak_check_that_goes_no_further_is_no_spacewalk() -> None:
    lock = prepared().goes_to(259, per_minute=35).rest(6 * MINUTE, every=5)
    (waiting,) = lock.events()
    (event,) = lock.goes_to(745, per_minute=60).rest(10 * MINUTE).events()
    assert waiting.confidence < 0.8
    assert event.event_id == waiting.event_id
    assert event.event_type == "airlock_partial_depressurisation"
    assert event.payload["lowest_pressure_mmhg"] == pytest.approx(259, abs=1)
    assert event.state == "closed"


def test_a_stay_of_both_chambers_at_527_mmhg_never_looks_like_a_spacewalk() -> None:
    lock = prepared()
    lock.context(EQUIPMENT, 650).goes_to(527, per_minute=18)
    assert [event.confidence for event in lock.events()] == [0.3]
    (event,) = lock.rest(HOUR).goes_to(745, per_minute=30).rest(10 * MINUTE).events()
    assert event.event_type == "airlock_partial_depressurisation"
    assert "the equipment lock fell along" in event.payload["reasons"]


def test_a_spacewalk_is_open_while_they_are_outside() -> None:
    lock = emptied(prepared()).rest(2 * MINUTE)
    _, early = lock.events()
    _, later = lock.rest(8.5 * HOUR).events()
    assert [event.event_type for event in (early, later)] == ["spacewalk", "spacewalk"]
    assert [event.state for event in (early, later)] == ["open", "open"]
    assert [event.ended_at for event in (early, later)] == [None, None]
    assert early.event_id == later.event_id
    assert early.confidence < later.confidence


def test_the_leak_check_on_the_way_back_does_not_end_another_spacewalk() -> None:
    lock = emptied(prepared()).rest(6 * HOUR)
    lock.goes_to(259, per_minute=90).rest(20 * MINUTE).goes_to(0.5, per_minute=40).rest(HOUR)
    assert types(filled(lock).rest(HOUR).events()) == ["airlock_depressurisation", "spacewalk"]


def test_a_lock_that_stays_empty_for_half_a_day_is_hardly_a_spacewalk() -> None:
    _, event = emptied(prepared()).rest(12 * HOUR).events()
    assert (event.state, event.ended_at) == ("closed", None)
    assert event.confidence <= 0.4


def test_a_lock_that_is_empty_for_some_minutes_is_hardly_a_spacewalk() -> None:
    _, event = filled(emptied(prepared()).rest(8 * MINUTE)).rest(HOUR).events()
    assert event.state == "closed"
    assert event.confidence <= 0.5


def test_an_empty_lock_without_pump_and_suits_is_less_sure() -> None:
    lock = Lock().read(745.0).context(PUMP, 0).context(SUIT, 0.1).rest(2 * HOUR)
    _, event = filled(emptied(lock).rest(6 * HOUR)).rest(HOUR).events()
    assert event.confidence < 0.5
    assert "the pump did not run" in event.payload["reasons"]


def test_where_nothing_is_known_of_pump_and_suits_the_pressure_alone_decides() -> None:
    lock = emptied(Lock().read(745.0).rest(2 * HOUR)).rest(HOUR)
    assert lock.events()[1].confidence == pytest.approx(0.75)


def test_if_the_equipment_lock_is_empty_too_it_may_be_the_sensors() -> None:
    lock = emptied(prepared().context(EQUIPMENT, 3.0)).rest(HOUR)
    assert lock.events()[1].confidence <= 0.4


def test_a_sensor_that_went_to_zero_out_of_sight_is_known_by_its_jump_back() -> None:
    lock = prepared().link_lost(10 * MINUTE).read(0.0, after=1).silent(10 * MINUTE)
    assert types(lock.events()) == ["airlock_depressurisation", "spacewalk"]
    assert lock.read(745.0).rest(HOUR).events() == []


def test_two_falls_in_a_row_are_two() -> None:
    lock = (
        Lock(pressure=760.0).read(760.0).rest(2 * HOUR).goes_to(688, per_minute=60).rest(2 * MINUTE, every=5)
    )
    lock.goes_to(707, per_minute=60).rest(2 * MINUTE, every=5)
    first, second = lock.goes_to(600, per_minute=60).rest(5 * MINUTE, every=5).events()
    assert first.started_at < second.started_at
    assert [event.state for event in (first, second)] == ["closed", "open"]


@pytest.mark.parametrize("seconds", [1, 30, 600, 2 * HOUR])
def test_a_sensor_that_jumps_to_zero_is_no_event(seconds: int) -> None:
    lock = prepared().read(0.0, after=5).silent(seconds).read(745.0).rest(HOUR)
    assert lock.events() == []


def test_a_sensor_that_is_off_scale_is_no_event() -> None:
    lock = prepared().read(0.0, after=5, status=4).silent(HOUR).read(0.0, status=4).read(745.0, after=60)
    assert lock.rest(HOUR).events() == []


def test_a_stuck_sensor_is_no_event() -> None:
    assert prepared().silent(20 * HOUR).rest(HOUR).events() == []


@pytest.mark.parametrize("pressure", [722.0, 735.0, 768.0])
def test_a_resting_pressure_that_drifts_is_no_event(pressure: float) -> None:
    lock = prepared().goes_to(pressure, per_minute=0.2, every=300).rest(5 * HOUR, noise=3.0)
    assert lock.events() == []


def test_a_spike_in_a_fall_changes_nothing() -> None:
    plain, spiked = prepared(), prepared()
    plain.goes_to(500, per_minute=35).silent(2)
    spiked.goes_to(500, per_minute=35).read(0.0, after=1).read(500, after=1)
    a, b = (emptied(lock).rest(HOUR).events() for lock in (plain, spiked))
    assert [(e.event_id, e.ended_at) for e in a] == [(e.event_id, e.ended_at) for e in b]


def test_a_spike_outside_does_not_end_the_spacewalk() -> None:
    lock = emptied(prepared()).rest(HOUR).read(745.0, after=1).read(0.5, after=1).rest(HOUR)
    assert types(lock.events()) == ["airlock_depressurisation", "spacewalk"]


def test_a_fall_that_begins_out_of_sight_is_an_interval() -> None:
    lock = prepared()
    away = lock.now + timedelta(seconds=1)
    lock.pressure = 500.0
    lock.link_lost(10 * MINUTE).read(500.0, after=1)
    event, _ = emptied(lock).rest(HOUR).events()
    assert event.payload["hidden_since"] == away.isoformat()
    assert event.confidence <= 0.7


def test_a_fall_that_began_in_sight_is_none_even_if_the_link_is_lost_later() -> None:
    lock = prepared().goes_to(710, per_minute=35)
    lock.pressure = 500.0
    lock.link_lost(10 * MINUTE).read(500.0, after=1)
    event, _ = emptied(lock).rest(HOUR).events()
    assert event.payload["hidden_since"] is None


def test_all_of_a_fall_may_be_out_of_sight_but_not_in_half_a_minute() -> None:
    def lost(seconds: int) -> list[DetectedEvent]:
        lock = prepared().link_lost(seconds).read(0.5, after=1)
        lock.pressure = 0.5
        return lock.rest(2 * HOUR).events()

    fall, spacewalk = lost(50 * MINUTE)
    assert fall.started_at == spacewalk.started_at
    assert fall.event_id != spacewalk.event_id
    assert spacewalk.confidence <= 0.7
    assert lost(30) == []


def test_an_end_out_of_sight_is_an_interval() -> None:
    lock = emptied(prepared()).rest(6 * HOUR).link_lost(20 * MINUTE).read(745.0, after=1)
    lock.pressure = 745.0
    _, event = lock.rest(HOUR).events()
    assert event.state == "closed"
    assert event.payload["end_hidden_since"] is not None


@pytest.mark.parametrize(("per_second", "every"), [(15, 5), (8, 10), (20, 30)])
def test_a_lock_that_is_filled_fast_has_had_its_spacewalk(per_second: int, every: int) -> None:
    lock = emptied(prepared()).rest(6 * HOUR)
    before = lock.events()
    lock.goes_to(745, per_minute=60 * per_second, every=every).rest(HOUR)
    after = lock.events()
    assert types(after) == types(before) == ["airlock_depressurisation", "spacewalk"]
    assert [event.event_id for event in after] == [event.event_id for event in before]
    assert [event.confidence for event in after] == [0.95, 0.95]


def test_an_end_that_is_faster_than_air_is_marked_and_undoes_no_spacewalk() -> None:
    lock = emptied(prepared()).rest(20 * MINUTE).read(745.0, after=1)
    lock.pressure = 745.0
    fall, walk = lock.rest(HOUR).events()
    assert (fall.event_type, walk.event_type) == ("airlock_depressurisation", "spacewalk")
    assert walk.state == "closed"
    assert "filled faster than air flows: the end is that of the readings" in walk.payload["reasons"]


def test_hours_of_vacuum_that_began_out_of_sight_are_not_undone_by_a_fast_end() -> None:
    lock = prepared().link_lost(50 * MINUTE).read(0.5, after=1)
    lock.pressure = 0.5
    lock.rest(6 * HOUR).read(745.0, after=60)
    lock.pressure = 745.0
    assert types(lock.rest(HOUR).events()) == ["airlock_depressurisation", "spacewalk"]


def test_what_a_depressurisation_came_to_is_known_once_it_has_settled() -> None:
    lock = prepared().goes_to(300, per_minute=35).rest(2 * HOUR).link_lost(40 * MINUTE).read(0.5, after=1)
    lock.pressure = 0.5
    lock.rest(9.5 * HOUR).read(745.0, after=60)
    lock.pressure = 745.0
    whole = lock.rest(3 * HOUR).window()
    (begun, *_) = DETECTOR.detect(whole)
    then = lock.window(end=begun.started_at + DETECTOR.settle)
    assert [event for event in DETECTOR.detect(then) if event.started_at == begun.started_at] == [begun]


def test_an_hour_and_more_of_bad_readings_parts_no_spacewalk() -> None:
    lock = emptied(prepared()).rest(2 * HOUR).read(0.5, after=60, status=4).silent(67 * MINUTE)
    lock.rest(2 * HOUR)
    fall, walk = filled(lock).rest(2 * HOUR).events()
    assert (fall.event_type, walk.event_type) == ("airlock_depressurisation", "spacewalk")
    assert walk.payload["duration_seconds"] > 5 * HOUR


def test_a_recording_without_link_state_may_have_gaps() -> None:
    lock = prepared().silent(HOUR).read(0.5)
    lock.pressure = 0.5
    assert types(lock.rest(2 * HOUR).events(link_known=False)) == ["airlock_depressurisation", "spacewalk"]
