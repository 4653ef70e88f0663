"""What must hold for any telemetry: events depend on what happened, not on how it reached the detector."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peebot_dagster.detectors.bouts import join
from peebot_dagster.detectors.detector import DetectedEvent
from peebot_dagster.detectors.level_readings import item_readings
from peebot_dagster.detectors.level_steps import MEMORY, Step, level_steps
from peebot_dagster.detectors.urine_tank import UrineTankDetector

DETECTOR = UrineTankDetector()
# Examples are timed by other processes on a busy machine, too.
unhurried = settings(deadline=None)
pace = st.integers(3, 12)

acts = st.one_of(
    st.tuples(st.just("visit"), st.integers(1, 10), pace),
    st.tuples(st.just("transfer"), st.integers(8, 40), st.sampled_from([3, 4])),
    st.tuples(st.just("drain"), st.integers(1, 30), st.sampled_from([20, 290])),
    st.tuples(st.just("dither"), st.integers(1, 20), st.integers(1, 20)),
    st.tuples(st.just("chatter"), st.integers(1, 20), st.integers(1, 100)),
    st.tuples(st.just("seep"), st.integers(10, 60), st.integers(40, 130)),
    st.tuples(st.just("jump"), st.integers(-30, 40), st.integers(1, 20)),
    st.tuples(st.just("peace"), st.integers(1, 9), st.sampled_from([30, 600, 3600])),
    st.tuples(st.just("los"), st.integers(-4, 9), st.integers(1, 5000)),
    st.tuples(st.just("bad"), st.integers(0, 100), st.integers(1, 60)),
    st.tuples(st.just("processor"), st.sampled_from([2, 16, 32]), st.just(1)),
)
stories = st.lists(acts, min_size=1, max_size=40)


def play(tank: Any, story: list[tuple[str, int, int]]) -> Any:
    """Write the story down as telemetry, within the limits of the tank."""
    tank.read(tank.level)
    for act, amount, pause in story:
        room = int(100 - tank.level)
        match act:
            case "visit" | "transfer" | "seep":
                tank.rises(*[pause] * min(amount, room))
            case "drain":
                tank.falls(*[pause] * min(amount, int(tank.level)))
            case "dither" if tank.level > 0:
                tank.dithers(amount, every=pause)
            case "chatter" if room > 1:
                for _ in range(amount):
                    tank.rises(pause, by=2).falls(pause, by=2)
            case "jump":
                tank.read(min(100, max(0, tank.level + amount)), after=pause)
            case "peace":
                tank.silent(amount * pause)
            case "los":
                tank.link_lost(pause).read(min(100, max(0, tank.level + amount)), after=2)
            case "bad":
                tank.read(amount, after=pause, status=1)
            case "processor":
                tank.processor(amount)
    return tank.silent(1)


def day(tank: Any, stories_of_day: list[list[tuple[str, int, int]]]) -> Any:
    for story in stories_of_day:
        play(tank, story).silent(3 * 3600)
    return tank


@unhurried
@given(stories, st.data(), st.booleans())
def test_the_order_of_arrival_does_not_count(telemetry: Any, story: Any, data: Any, link_known: bool) -> None:
    window = play(telemetry.tank(), story).window(link_known=link_known)
    order = data.draw(st.permutations(range(len(window.readings))))
    assert DETECTOR.detect(telemetry.shuffled(window, order)) == DETECTOR.detect(window)


@unhurried
@given(stories, st.data())
def test_the_same_reading_delivered_again_changes_nothing(telemetry: Any, story: Any, data: Any) -> None:
    window = play(telemetry.tank(), story).window()
    count = len(window.readings)
    again = data.draw(st.lists(st.integers(0, count - 1), max_size=20))
    assert DETECTOR.detect(telemetry.shuffled(window, [*range(count), *again])) == DETECTOR.detect(window)


@unhurried
@given(stories, st.booleans())
def test_a_rerun_gives_the_same_events(telemetry: Any, story: Any, link_known: bool) -> None:
    window = play(telemetry.tank(), story).window(link_known=link_known)
    before = window.readings.copy()
    assert DETECTOR.detect(window) == DETECTOR.detect(window)
    assert window.readings.equals(before)


def spans(first: datetime, end: datetime, cuts: list[float]) -> Iterator[tuple[datetime, datetime]]:
    edges = sorted({first, end, *(first + (end - first) * cut for cut in cuts)})
    return pairwise(edges)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(stories, min_size=1, max_size=12),
    st.lists(st.floats(0.001, 0.999), max_size=12),
    st.booleans(),
)
def test_any_split_into_windows_gives_the_same_events(
    telemetry: Any, days: Any, cuts: list[float], link_known: bool
) -> None:
    tank = day(telemetry.tank(), days)
    whole = tank.window(link_known=link_known)
    merged: list[DetectedEvent] = []
    for start, end in spans(whole.start, whole.end, cuts):
        window_end = min(end + DETECTOR.settle, whole.end)
        window = tank.window(start - DETECTOR.look_back, window_end, link_known=link_known)
        merged += [event for event in DETECTOR.detect(window) if start <= event.started_at < end]
    assert merged == DETECTOR.detect(whole)


@unhurried
@given(stories, st.sampled_from([-366, -365, 365, 366, 3652]))
def test_a_year_later_the_same_happens(telemetry: Any, story: Any, days: int) -> None:
    tank = play(telemetry.tank(), story)
    events = tank.events()
    shift = timedelta(days=days)
    tank.rows = [(row[0] + shift, *row[1:]) for row in tank.rows]
    tank.away = [(start + shift, end + shift) for start, end in tank.away]
    tank.now += shift
    shifted = tank.events()
    assert not {event.event_id for event in shifted} & {event.event_id for event in events}

    def back(event: DetectedEvent, original: DetectedEvent) -> DetectedEvent:
        assert event.ended_at is not None
        hidden_since = event.payload["hidden_since"]
        if hidden_since is not None:
            hidden_since = (datetime.fromisoformat(hidden_since) - shift).isoformat()
        return replace(
            event,
            event_id=original.event_id,
            started_at=event.started_at - shift,
            ended_at=event.ended_at - shift,
            payload={**event.payload, "hidden_since": hidden_since},
        )

    assert [back(late, early) for late, early in zip(shifted, events, strict=True)] == events


def top(step: Step) -> float:
    """The upper end of the backlash band after a step."""
    return step.level if step.size > 0 else step.level + 1.0


@unhurried
@given(stories)
def test_mass_balance_rises_minus_falls_is_the_change_of_level(telemetry: Any, story: Any) -> None:
    window = play(telemetry.tank(), story).window()
    steps = level_steps(window, item_readings(window, telemetry.level_item, 0, 100))
    for before, after in pairwise(steps):
        if after.at - before.at <= MEMORY:
            assert top(before) + after.size == top(after)
    rises = sum(step.size for step in steps if step.size > 0)
    assert sum(step.size for bout in join(steps) for step in bout.steps) == rises


@unhurried
@given(stories, st.booleans())
def test_every_event_is_well_formed(telemetry: Any, story: Any, link_known: bool) -> None:
    window = play(telemetry.tank(), story).window(link_known=link_known)
    events = DETECTOR.detect(window)
    assert len({event.event_id for event in events}) == len(events)
    for event in events:
        assert event.event_type in DETECTOR.event_types
        assert event.ended_at is not None
        assert window.start <= event.started_at <= event.ended_at < window.end
        assert event.started_at.tzinfo is UTC
        assert 0 < event.confidence < 1
        fell = event.event_type == "sensor_reset" and event.payload["amount_percent"] <= -20
        assert event.payload["amount_percent"] >= 1 or fell
        assert event.payload["reasons"]
        if event.event_type == "toilet_visit":
            assert 2 <= event.payload["amount_percent"] <= 10
            assert not event.payload["masked"]
        if event.payload["masked"]:
            assert event.confidence <= 0.5 or event.event_type == "sensor_reset"
    for before, after in pairwise(events):
        assert before.ended_at is not None
        assert before.ended_at < after.started_at
        assert before.state == "closed"


@pytest.mark.parametrize("silence", [1, 11, 13])
def test_the_window_may_start_anywhere_in_a_long_silence(telemetry: Any, silence: int) -> None:
    tank = telemetry.tank().known().silent(silence * 3600)
    for pause in (9, 6, 6):
        tank.rises(pause)
    whole = tank.silent(600).events()
    for hours in range(13, 24):
        window = tank.window(start=whole[0].started_at - timedelta(hours=hours))
        assert DETECTOR.detect(window) == whole
