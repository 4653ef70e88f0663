"""How sure the detector is of a visit, and from when on it may be posted."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

VISIT = (1800, 6, 6)
PEACE = 1800.0


def test_a_masked_visit_is_an_interval_of_low_confidence(telemetry: Any) -> None:
    tank = telemetry.tank().known()
    lost_at = tank.now
    (event,) = tank.link_lost(600).rises(1, by=4).silent(PEACE).events()
    assert event.payload["masked"] is True
    assert event.payload["hidden_since"] == lost_at.isoformat()
    assert event.started_at == lost_at + timedelta(seconds=601)
    assert event.confidence <= 0.5


def test_a_visit_that_was_partly_hidden_is_not_sure_enough_to_be_posted(telemetry: Any) -> None:
    (event,) = telemetry.tank().known().link_lost(20).rises(1, by=2).rises(6, 6).silent(PEACE).events()
    assert (event.event_type, event.payload["masked"]) == ("toilet_visit", False)
    assert event.confidence < 0.8


@pytest.mark.parametrize(
    ("silence", "event_type", "state", "confidence"),
    [
        (0, "toilet_visit", "open", 0.6),
        (29, "toilet_visit", "open", 0.6),
        (30, "toilet_visit", "open", 0.85),
        (119, "toilet_visit", "open", 0.85),
        (121, "toilet_visit", "closed", 0.95),
    ],
)
def test_confidence_grows_while_the_level_rests(
    telemetry: Any, silence: int, event_type: str, state: str, confidence: float
) -> None:
    (event,) = telemetry.tank().known().rises(9, 6).silent(silence).events()
    assert (event.event_type, event.state, event.confidence) == (event_type, state, confidence)


def draining_by_level(tank: Any) -> Any:
    return tank.falls(290, 290, 290)


def draining_by_state(tank: Any) -> Any:
    return tank.processor(16)


def drained_but_standing_by(tank: Any) -> Any:
    return tank.falls(290, 290, 290).processor(32)


@pytest.mark.parametrize("draining", [draining_by_level, draining_by_state])
def test_while_the_tank_is_drained_a_visit_is_sure_only_once_it_is_over(
    telemetry: Any, draining: Callable[[Any], Any]
) -> None:
    tank = draining(telemetry.tank().known()).rises(60, 6, 6)
    seen = [tank.silent(wait).events()[-1] for wait in (30, 89, 2)]
    assert [(event.event_type, event.state, event.confidence) for event in seen] == [
        ("toilet_visit", "open", 0.6),
        ("toilet_visit", "open", 0.6),
        ("toilet_visit", "closed", 0.95),
    ]


def test_a_processor_that_stands_by_does_not_make_a_visit_wait(telemetry: Any) -> None:
    (event,) = drained_but_standing_by(telemetry.tank().known()).rises(60, 6, 6).silent(30).events()
    assert (event.state, event.confidence) == ("open", 0.85)


def test_two_percent_far_apart_are_sure_only_once_the_rise_is_over(telemetry: Any) -> None:
    tank = telemetry.tank().known().rises(9, 60)
    seen = [tank.silent(wait).events()[-1] for wait in (40, 90)]
    assert [(event.event_type, event.confidence) for event in seen] == [
        ("toilet_visit", 0.6),
        ("toilet_visit", 0.85),
    ]


def test_a_visit_in_one_great_step_is_not_sure_enough_to_be_posted(telemetry: Any) -> None:
    (event,) = telemetry.tank().known().rises(9, by=5).silent(PEACE).events()
    assert event.event_type == "toilet_visit"
    assert event.confidence < 0.8


def test_a_transfer_at_a_pumps_pace_is_never_sure_enough_to_be_posted_as_a_visit(telemetry: Any) -> None:
    tank = telemetry.tank().known()
    for pause in (9, *[3] * 20):
        tank.rises(pause)
        for event in tank.events():
            assert event.event_type != "toilet_visit" or event.confidence <= 0.6
