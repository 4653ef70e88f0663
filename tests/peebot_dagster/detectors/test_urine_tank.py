"""How the tank behaves, case by case, and what the detector makes of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pandas as pd
import pytest

from peebot_dagster.detectors.urine_tank import UrineTankDetector

VISIT = (1800, 6, 6)
PEACE = 1800.0


@pytest.mark.parametrize(
    ("story", "expected"),
    [
        pytest.param(lambda t: t, [], id="an hour of peace is nothing"),
        pytest.param(lambda t: t.dithers(200), [], id="dither is nothing"),
        pytest.param(lambda t: t.rises(9, 6).falls(6, 6), ["sensor_reset"], id="two up and two down"),
        pytest.param(lambda t: t.rises(9), ["dribble"], id="a lone percent that holds is a dribble"),
        pytest.param(lambda t: t.rises(9).falls(20, 20), [], id="a lone percent that does not hold is noise"),
        pytest.param(lambda t: t.rises(9, 6), ["toilet_visit"], id="two percent at a visit's pace"),
        pytest.param(lambda t: t.rises(9, *[6] * 9), ["toilet_visit"], id="ten percent is still a visit"),
        pytest.param(lambda t: t.rises(9, 6, 6, 85), ["toilet_visit"], id="a late extra step joins"),
        pytest.param(lambda t: t.rises(9, 6, 120), ["toilet_visit"], id="a pause of 120 s joins"),
        pytest.param(lambda t: t.rises(9, 6, 121, 6), ["toilet_visit"] * 2, id="a longer pause does not"),
        pytest.param(
            lambda t: t.dithers(5).rises(6, 6).dithers(9).rises(6), ["toilet_visit"], id="in dither"
        ),
        pytest.param(
            lambda t: t.rises(9, 6).falls(20, 20, 20).rises(20, 6, 6),
            ["toilet_visit"] * 2,
            id="a net fall of two parts two visits",
        ),
        pytest.param(lambda t: t.falls(*[290] * 20), [], id="a processor run is nothing"),
        pytest.param(
            lambda t: t.falls(*[290] * 9).rises(100, 6, 6, 6).falls(*[290] * 9),
            ["toilet_visit"],
            id="a visit during a processor run stays visible",
        ),
        pytest.param(lambda t: t.falls(*[17] * 15), [], id="a fast drain is nothing"),
        pytest.param(lambda t: t.rises(9, *[3] * 30), ["tank_transfer"], id="a pumped transfer"),
        pytest.param(lambda t: t.rises(9, *[4] * 7), ["tank_transfer"], id="eight percent at a pump's pace"),
        pytest.param(lambda t: t.rises(9, *[6] * 10), ["tank_transfer"], id="eleven percent at any pace"),
        pytest.param(lambda t: t.rises(9, *[3] * 4), ["tank_transfer"], id="no person is as fast as a pump"),
        pytest.param(lambda t: t.rises(9, 3), ["toilet_visit"], id="two fast steps may be a person"),
        pytest.param(
            lambda t: t.rises(9, 16, 14, 13, 11, 10, 9), ["tank_transfer"], id="a trickle that speeds up"
        ),
        pytest.param(lambda t: t.rises(9, 34, 24, 27), ["tank_transfer"], id="a trickle of four percent"),
        pytest.param(
            lambda t: t.rises(9, 6, 40, 30, 6), ["toilet_visit"], id="a visit with two rests is no trickle"
        ),
        pytest.param(lambda t: t.rises(9, 40, 30), ["toilet_visit"], id="three percent are no trickle"),
        pytest.param(
            lambda t: t.falls(290, 290, 290).rises(9, 6, 6, 6, 70, 6, 5, 5, *[4] * 9),
            ["tank_transfer"],
            id="a visit that a pump follows within two minutes is lost in the transfer",
        ),
        pytest.param(lambda t: t.rises(9, *[3] * 64), ["tank_transfer"], id="a fast fill to 85 %"),
        pytest.param(lambda t: t.rises(9, by=33), ["sensor_reset"], id="33 % in one reading is no liquid"),
        pytest.param(
            lambda t: t.rises(9, *[1] * 10, by=3), ["sensor_reset"], id="24 to 57 within 11 s is no liquid"
        ),
        pytest.param(
            lambda t: t.read(0, after=9).read(51, after=5), ["sensor_reset"], id="a drop to 0 and a jump"
        ),
        pytest.param(
            lambda t: t.read(0, after=9).read(20, after=5), ["sensor_reset"], id="a drop-out to 0 and back"
        ),
        pytest.param(
            lambda t: t.falls(9, by=8).rises(4, by=8), ["sensor_reset"], id="a drop-out by 8 % and back"
        ),
        pytest.param(
            lambda t: t.read(0, after=9).silent(600).rises(1, by=5), ["sensor_reset"], id="a jump off 0 later"
        ),
        pytest.param(lambda t: t.rises(9, by=8).falls(4, by=8), ["sensor_reset"], id="a spike of 8 %"),
        pytest.param(
            lambda t: t.rises(9, *[3] * 40).silent(PEACE).dithers(2).falls(9, by=30),
            ["tank_transfer", "sensor_reset"],
            id="a reset downwards",
        ),
        pytest.param(
            lambda t: t.rises(9, *[3] * 40).silent(PEACE).dithers(2).falls(9, 5, by=15),
            ["tank_transfer", "sensor_reset"],
            id="a reset downwards in two steps",
        ),
        pytest.param(
            lambda t: t.rises(9, *[3] * 40).silent(PEACE).dithers(2).falls(9, by=30).rises(9, by=30),
            ["tank_transfer", "sensor_reset"],
            id="a drop-out by 30 % is told once",
        ),
        pytest.param(
            lambda t: t.rises(9, by=8).falls(4, by=8).rises(4, by=8),
            ["sensor_reset"] * 2,
            id="a spike, and again for good",
        ),
        pytest.param(
            lambda t: t.rises(9, 6, 6).silent(PEACE).rises(9, *[3] * 20).silent(PEACE).rises(9),
            ["toilet_visit", "tank_transfer", "dribble"],
            id="one after the other",
        ),
    ],
)
@pytest.mark.parametrize("link_known", [True, False])
def test_each_rise_is_what_it_is(
    telemetry: Any, story: Callable[[Any], Any], expected: list[str], link_known: bool
) -> None:
    tank = telemetry.tank().known()
    if not link_known:
        tank.dithers(10)  # without the link, a reading before the story shows that the logger is on
    assert story(tank).silent(PEACE).types(link_known=link_known) == expected


@pytest.mark.parametrize(
    ("story", "expected"),
    [
        pytest.param(
            lambda t: t.link_lost(600).rises(1, by=4), ["toilet_visit_masked"], id="a jump after LOS"
        ),
        pytest.param(
            lambda t: t.link_lost(600).rises(1), ["dribble"], id="one percent after LOS is a dribble"
        ),
        pytest.param(lambda t: t.link_lost(600).rises(1, by=30), ["tank_transfer"], id="30 % hidden in LOS"),
        pytest.param(
            lambda t: t.rises(9, *[3] * 40).silent(PEACE).link_lost(9000).falls(1, by=30),
            ["tank_transfer"],
            id="a drain hidden in LOS is no reset",
        ),
        pytest.param(
            lambda t: t.link_lost(30).rises(1).rises(106, 6, 6),
            ["dribble", "toilet_visit"],
            id="a percent that LOS hid is not the begin of a visit two minutes later",
        ),
        pytest.param(
            lambda t: t.link_lost(30).silent(60).rises(1, 80),
            ["toilet_visit"],
            id="LOS a minute ago hides no percent",
        ),
        pytest.param(
            lambda t: t.link_lost(30).rises(1, 6, 6),
            ["toilet_visit"],
            id="LOS cuts a visit's begin off",
        ),
        pytest.param(lambda t: t.link_lost(4).rises(1, by=4), ["toilet_visit"], id="4 s of LOS hide nothing"),
        pytest.param(lambda t: t.silent(9000).rises(1, 6, 6), ["toilet_visit"], id="silence is never LOS"),
        pytest.param(
            lambda t: t.link_lost(20).rises(1, by=2).rises(6, 6), ["toilet_visit"], id="it goes on in sight"
        ),
        pytest.param(
            lambda t: t.link_lost(7200).rises(1, by=9).rises(60, 6, 6),
            ["toilet_visit_masked", "toilet_visit"],
            id="a visit soon after a long outage is not part of what the outage hid",
        ),
        pytest.param(
            lambda t: t.link_lost(3600).falls(1, by=8).rises(9, 6, 6),
            ["toilet_visit"],
            id="a visit just after a drain that LOS hid is no drop-out",
        ),
        pytest.param(
            lambda t: t.rises(9, 6).link_lost(40).rises(1, by=3), ["toilet_visit"], id="LOS within a visit"
        ),
        pytest.param(
            lambda t: t.silent(60).read(24, after=1, snapshot=True),
            ["toilet_visit_masked"],
            id="the first state after a reconnection too short to show",
        ),
        pytest.param(
            lambda t: t.link_lost(600).read(24, after=0, snapshot=True),
            ["toilet_visit_masked"],
            id="the first state after a reconnection that shows",
        ),
        pytest.param(
            lambda t: t.read(20, after=60, snapshot=True).rises(1, 6, 6),
            ["toilet_visit"],
            id="a first state that tells nothing new hides nothing",
        ),
        pytest.param(
            lambda t: t.rises(9, 6).read(24, after=8, snapshot=True).rises(6),
            ["toilet_visit"],
            id="a reconnection within a visit",
        ),
        pytest.param(
            lambda t: t.read(20, after=60, status=1).rises(120, by=4),
            ["toilet_visit_masked"],
            id="a channel that was declared bad meanwhile hides as well",
        ),
    ],
)
def test_what_the_link_hides(telemetry: Any, story: Callable[[Any], Any], expected: list[str]) -> None:
    assert story(telemetry.tank().known()).silent(PEACE).types() == expected


def test_without_the_link_a_jump_after_long_silence_is_masked(telemetry: Any) -> None:
    tank = telemetry.tank().known().rises(3600, by=4).silent(PEACE)
    assert tank.types(link_known=False) == ["toilet_visit_masked"]
    assert tank.types(link_known=True) == ["toilet_visit"]


def test_the_facts_of_a_visit(telemetry: Any) -> None:
    tank = telemetry.tank().known().processor(16)
    began = tank.now + timedelta(seconds=9)
    (event,) = tank.rises(9, 6, 7, 8).silent(PEACE).events()
    assert (event.started_at, event.ended_at) == (began, began + timedelta(seconds=21))
    assert (event.state, event.confidence, event.item) == ("closed", 0.95, telemetry.level_item)
    facts = dict(event.payload)
    assert facts.pop("reasons") == ["4 % in 4 steps, 7.0 s per 1 %", "as much as a person gives, as slowly"]
    assert facts == {
        "amount_percent": 4.0,
        "amount_ml": 328,
        "steps": 4,
        "cadence_seconds_per_percent": 7.0,
        "level_before_percent": 20.0,
        "level_after_percent": 24.0,
        "upa_processing": True,
        "masked": False,
        "hidden_since": None,
    }


@pytest.mark.parametrize(("states", "expected"), [([], None), ([16], True), ([32], False), ([16, 2], False)])
def test_the_processor_is_context(telemetry: Any, states: list[int], expected: bool | None) -> None:
    tank = telemetry.tank().known()
    for state in states:
        tank.silent(60).processor(state)
    (event,) = tank.rises(60, 6).silent(PEACE).processor(64).events()
    assert event.payload["upa_processing"] is expected


@pytest.mark.parametrize("link_known", [True, False])
def test_what_a_first_state_after_a_reconnection_shows_is_an_interval(
    telemetry: Any, link_known: bool
) -> None:
    tank = telemetry.tank().known()
    heard_last = tank.rows[-1][0]
    (event,) = tank.read(24, snapshot=True).silent(PEACE).events(link_known=link_known)
    assert event.payload["masked"] is True
    assert event.payload["hidden_since"] == heard_last.isoformat()
    assert event.confidence <= 0.5


def test_a_first_state_that_was_heard_live_as_well_hides_nothing(telemetry: Any) -> None:
    tank = telemetry.tank().known().read(24, after=9, snapshot=True).silent(PEACE)
    window = tank.window()
    live = window.readings[window.readings["is_snapshot"]].assign(is_snapshot=False)
    both = replace(window, readings=pd.concat([window.readings, live]))
    assert [event.payload["masked"] for event in UrineTankDetector().detect(both)] == [False]


def test_a_rise_is_one_event_while_it_may_be_a_persons_and_another_once_it_is_a_transfer(
    telemetry: Any,
) -> None:
    tank = telemetry.tank().known()
    seen = []
    for pause in (9, *[6] * 14):
        (event,) = tank.rises(pause).events()
        seen.append(event)
    assert [event.event_type for event in seen] == ["dribble"] + ["toilet_visit"] * 9 + ["tank_transfer"] * 5
    assert {event.state for event in seen} == {"open"}
    a_persons, a_pumps = ({event.event_id for event in some} for some in (seen[:10], seen[10:]))
    assert (len(a_persons), len(a_pumps)) == (1, 1)
    assert a_persons.isdisjoint(a_pumps), "the visit would not be retracted"
    assert [event.confidence for event in seen] == [0.3] + [0.6] * 14


def test_a_rise_is_closed_as_soon_as_the_level_has_fallen_too_far_for_it_to_go_on(telemetry: Any) -> None:
    tank = telemetry.tank().known().rises(9, 6, 6)
    assert [event.state for event in tank.falls(20, 20).events()] == ["open"]
    assert [event.state for event in tank.falls(20).events()] == ["closed"]


@pytest.mark.parametrize(
    ("value", "status"), [(60, 1), (60, 2), (60, 0), (101, 24), (-1, 24), (float("nan"), 24)]
)
def test_a_reading_that_is_not_good_is_not_believed(telemetry: Any, value: float, status: int) -> None:
    tank = telemetry.tank().known().read(value, after=5, status=status).read(20, after=5).silent(PEACE)
    assert tank.types() == []


def test_a_reading_without_a_status_class_is_believed(telemetry: Any) -> None:
    tank = telemetry.tank().known()
    for pause in (9, 6, 6):
        tank.read(tank.level + 1, after=pause, status=None)
    assert tank.silent(PEACE).types() == ["toilet_visit"]


def test_the_last_reading_before_the_window_is_enough_to_see_the_first_step(telemetry: Any) -> None:
    tank = telemetry.tank().known()
    began = tank.now
    whole = tank.rises(9, by=5).silent(PEACE).events()
    window = tank.window(start=began, end=tank.now)
    (event,) = UrineTankDetector().detect(window)
    assert event.event_id == whole[0].event_id
    # From a single value nobody can tell on which side of it the band lies: up to 1 % is not counted.
    assert (event.payload["amount_percent"], whole[0].payload["amount_percent"]) == (4.0, 5.0)


def test_nothing_older_than_twelve_hours_tells_the_side_of_the_band(telemetry: Any) -> None:
    (event,) = telemetry.tank().known().silent(13 * 3600).rises(9, 6, 6).silent(PEACE).events()
    assert event.payload["amount_percent"] == 2.0


def test_a_loss_of_signal_more_than_twelve_hours_ago_hides_nothing(telemetry: Any) -> None:
    def story(hours: int) -> list[str]:
        tank = telemetry.tank().known().link_lost(600).silent(hours * 3600).rises(1, by=5)
        return [event.event_type for event in tank.silent(PEACE).events()]

    assert (story(11), story(13)) == (["toilet_visit_masked"], ["toilet_visit"])


def test_a_rise_that_never_rests_is_cut_after_fifteen_minutes(telemetry: Any) -> None:
    events = telemetry.tank().known().rises(9, *[100] * 29).silent(PEACE).events()
    assert [event.payload["steps"] for event in events] == [10, 10, 10]
    assert {event.state for event in events} == {"closed"}


def test_an_empty_window_holds_no_events(telemetry: Any) -> None:
    tank = telemetry.tank().known()
    assert UrineTankDetector().detect(telemetry.window([], tank.now, tank.now)) == []


def test_readings_of_other_items_do_not_count(telemetry: Any) -> None:
    window = telemetry.tank().known().rises(9, 6, 6).silent(PEACE).window()
    assert UrineTankDetector(level_item="NODE3000008").detect(window) == []


def test_the_level_and_the_state_are_settings(telemetry: Any) -> None:
    window = telemetry.tank().known().rises(9, 6, 6).silent(PEACE).window()
    renamed = {telemetry.level_item: "A", telemetry.state_item: "B"}
    window.readings["item"] = window.readings["item"].map(renamed)
    detector = UrineTankDetector(level_item="A", state_item="B")
    assert detector.items == ("A", "B")
    assert [event.item for event in detector.detect(window)] == ["A"]
