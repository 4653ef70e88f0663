"""What must hold for each registered detector on a simulated station: events depend on what happened, not on
how and when it reached the detector."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import pairwise
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.replay import Prefixes, lives
from evaluation.simulated import simulated_window
from peebot_dagster.detectors.detector import (
    DetectedEvent,
    Detector,
    LiveInterval,
    LostInterval,
    Window,
    state_items,
)
from peebot_dagster.detectors.registry import DETECTORS

SINCE = datetime(2025, 12, 30, 3, tzinfo=UTC)
HOUR = timedelta(hours=1)
# The seed of a station, and for how long it is listened to: some events happen once in days.
STATIONS = {
    "airlock": (1, 48 * HOUR),
    "attitude": (1, 24 * HOUR),
    "water_tanks": (1, 24 * HOUR),
    "upa_cycle": (1, 24 * HOUR),
    "oxygen_generator": (2, 24 * HOUR),
}
A_STATION = (11, 12 * HOUR)
SHARES = st.floats(0.001, 0.999)
# Examples are timed by other processes on a busy machine, too.
few = settings(max_examples=6, deadline=None)

each_detector = pytest.mark.parametrize("detector", DETECTORS.values(), ids=list(DETECTORS))


@cache
def simulated(name: str) -> Window:
    """Long enough that some events depend on nothing before it, and some on nothing after it."""
    detector = DETECTORS[name]
    seed, scored = STATIONS.get(name, A_STATION)
    days = (detector.look_back + detector.settle + scored) / timedelta(days=1)
    return simulated_window(detector.items, seed, SINCE, days)[0]


@cache
def whole(name: str) -> list[DetectedEvent]:
    events = DETECTORS[name].detect(simulated(name))
    assert events, "what holds for no events holds for nothing: take another station"
    return events


def scored(detector: Detector, events: list[DetectedEvent]) -> list[DetectedEvent]:
    """Those events that have all the telemetry behind them that they depend on."""
    found = [event for event in events if event.started_at >= SINCE + detector.look_back]
    assert found
    return found


@each_detector
@few
@given(cuts=st.lists(SHARES, max_size=4))
def test_any_split_into_windows_gives_the_same_events(detector: Detector, cuts: list[float]) -> None:
    window, prefixes = simulated(detector.name), Prefixes(simulated(detector.name))
    begin = SINCE + detector.look_back
    edges = sorted({begin, window.end, *(begin + (window.end - begin) * cut for cut in cuts)})
    merged: list[DetectedEvent] = []
    for start, end in pairwise(edges):
        part = prefixes.window(start - detector.look_back, min(end + detector.settle, window.end))
        merged += [event for event in detector.detect(part) if start <= event.started_at < end]
    assert merged == scored(detector, whole(detector.name))


@each_detector
@few
@given(share=SHARES)
def test_what_has_settled_at_a_watermark_never_changes(detector: Detector, share: float) -> None:
    window = simulated(detector.name)
    first = whole(detector.name)[0].started_at + detector.settle
    watermark = first + (window.end - first) * share
    early = detector.detect(Prefixes(window).window(SINCE, watermark))

    def settled(events: list[DetectedEvent]) -> list[DetectedEvent]:
        return [event for event in events if event.started_at + detector.settle <= watermark]

    assert settled(early) == settled(whole(detector.name)) != []


@each_detector
@few
@given(seed=st.integers(0, 2**32 - 1), again=st.floats(0, 0.5))
def test_the_order_of_arrival_and_what_comes_twice_change_nothing(
    detector: Detector, seed: int, again: float
) -> None:
    window = simulated(detector.name)
    twice = window.readings.sample(frac=again, random_state=seed)
    arrived = pd.concat([window.readings, twice]).sample(frac=1.0, random_state=seed)
    assert detector.detect(replace(window, readings=arrived)) == whole(detector.name)


@each_detector
def test_a_rerun_gives_the_same_events_and_leaves_the_window_as_it_was(detector: Detector) -> None:
    window = simulated(detector.name)
    before = window.readings.copy()
    assert detector.detect(window) == whole(detector.name)
    assert window.readings.equals(before)


def _interrupted(window: Window, moments: list[datetime], length: timedelta) -> Window:
    """The same, with the link away for so long from each of the moments on."""
    live: list[LiveInterval] = []
    for interval in window.live or ():
        start = interval.start
        for moment in sorted(moments):
            if start < moment and moment + length < interval.end:
                live.append(LiveInterval(start, moment))
                start = moment + length
        live.append(LiveInterval(start, interval.end))
    return replace(window, live=tuple(live))


@each_detector
@pytest.mark.parametrize("seconds", [0.3, 4.9])
def test_the_seconds_that_a_restart_of_the_daemon_takes_make_no_event_less_certain(
    detector: Detector, seconds: float
) -> None:
    window, length = simulated(detector.name), timedelta(seconds=seconds)
    assert window.live is not None
    moments = [window.start + (window.end - window.start) * share / 200 for share in range(1, 200)]
    # In the middle of what begins as well.
    moments += [event.started_at - length / 2 for event in whole(detector.name)]
    interrupted = _interrupted(window, moments, length)
    assert len(interrupted.live or ()) > len(window.live) + 100

    def certain(events: list[DetectedEvent]) -> list[tuple[Any, ...]]:
        return [(event.event_id, event.event_type, event.state, event.confidence) for event in events]

    assert certain(detector.detect(interrupted)) == certain(whole(detector.name))


@each_detector
@pytest.mark.parametrize("days", [-365, 366])
def test_a_year_later_the_same_happens(detector: Detector, days: int) -> None:
    window, shift = simulated(detector.name), timedelta(days=days)
    later = Window(
        window.start + shift,
        window.end + shift,
        window.readings.assign(ts=window.readings["ts"] + shift),
        tuple(LiveInterval(i.start + shift, i.end + shift) for i in window.live or ()),
        tuple(LostInterval(i.start + shift, i.end + shift) for i in window.lost or ()),
    )
    events = whole(detector.name)
    shifted = detector.detect(later)
    assert not {event.event_id for event in shifted} & {event.event_id for event in events}
    back = [
        replace(
            late,
            event_id=early.event_id,
            started_at=late.started_at - shift,
            ended_at=None if late.ended_at is None else late.ended_at - shift,
            payload=_shifted(late.payload, -shift),
        )
        for late, early in zip(shifted, events, strict=True)
    ]
    assert back == [replace(event, payload=_shifted(event.payload, timedelta(0))) for event in events]


@each_detector
def test_told_in_the_course_of_time_the_events_are_those_of_the_whole(detector: Detector) -> None:
    part, since, events = course_of_an_event(detector)
    told = [life.final for life in lives(detector, part, since)]
    assert sorted((event for event in told if event), key=lambda event: event.started_at) == events


def course_of_an_event(detector: Detector) -> tuple[Window, datetime, list[DetectedEvent]]:
    """The telemetry until some time after an event has begun, a moment before that, and the events since."""
    window = simulated(detector.name)
    prefixes = Prefixes(window)
    # Forty looks are enough to see an event begin, and few enough to be quick.
    interval = detector.trigger_interval
    looks = 40 * max(interval, timedelta(minutes=1)) if interval else 3 * HOUR
    for event in scored(detector, whole(detector.name)):
        since = max(event.started_at - looks / 8, SINCE + detector.look_back)
        part = prefixes.window(window.start, min(since + looks, window.end))
        events = [event for event in detector.detect(part) if event.started_at >= since]
        if events:
            return part, since, events
    raise AssertionError("no event is told within forty looks")


@each_detector
def test_the_states_that_a_detector_is_woken_for_are_among_its_items(detector: Detector) -> None:
    assert set(state_items(detector)) <= set(detector.items)
    # Without an interval it is woken for all of them anyway.
    assert not state_items(detector) or detector.trigger_interval


@each_detector
def test_every_event_is_well_formed(detector: Detector) -> None:
    window, events = simulated(detector.name), whole(detector.name)
    assert len({event.event_id for event in events}) == len(events)
    assert [event.started_at for event in events] == sorted(event.started_at for event in events)
    for event in events:
        assert event.event_type in detector.event_types
        assert (event.detector, event.detector_version) == (detector.name, detector.version)
        assert event.item in detector.items
        assert window.start <= event.started_at < window.end
        for moment in filter(None, (event.started_at, event.ended_at)):
            assert moment.utcoffset() == timedelta(0)
        assert event.ended_at is None or event.ended_at >= event.started_at
        assert event.state in ("open", "closed")
        assert 0 < event.confidence <= 1
        assert json.loads(json.dumps(dict(event.payload))) == dict(event.payload)
        assert event.payload["reasons"]


@each_detector
def test_an_empty_window_holds_no_events(detector: Detector) -> None:
    window = simulated(detector.name)
    assert detector.detect(replace(window, readings=window.readings.iloc[:0], live=None)) == []


def _shifted(value: Any, shift: timedelta) -> Any:
    """The payload with all its moments (ISO 8601) moved."""
    if isinstance(value, dict):
        return {key: _shifted(part, shift) for key, part in value.items()}
    if isinstance(value, list):
        return [_shifted(part, shift) for part in value]
    if isinstance(value, str) and value[:2] == "20":
        try:
            return (datetime.fromisoformat(value) + shift).isoformat()
        except ValueError:
            return value
    return value
