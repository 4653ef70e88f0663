"""Whatever happens in the crew lock, events do not depend on how the readings come, and are well formed."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from peebot_dagster.detectors.detector import DetectedEvent
from tests.peebot_dagster.detectors.crew_lock import (
    DETECTOR,
    PUMP,
    Lock,
)

acts = st.one_of(
    st.tuples(st.just("goes"), st.sampled_from([745, 698, 689, 527, 259, 60, 20, 0]), st.integers(5, 90)),
    st.tuples(st.just("rest"), st.sampled_from([60, 600, 3600, 14_400, 36_000]), st.sampled_from([0, 1, 8])),
    st.tuples(
        st.just("spacewalk"),
        st.sampled_from([600, 7200, 23_000, 35_900, 40_000]),
        st.sampled_from([0, 3600, 9000]),
    ),
    st.tuples(st.just("jump"), st.sampled_from([745, 700, 300, 0]), st.integers(1, 120)),
    st.tuples(st.just("bad"), st.sampled_from([0, 745]), st.sampled_from([1, 60, 4000])),
    st.tuples(st.just("los"), st.sampled_from([745, 689, 259, 0]), st.sampled_from([8, 200, 5000])),
    st.tuples(st.just("pump"), st.integers(0, 1), st.just(0)),
)
stories = st.lists(acts, min_size=1, max_size=14)


def play(story: list[tuple[str, int, int]]) -> Lock:
    lock = Lock().read(745.0)
    for act, amount, second in story:
        match act:
            case "goes":
                lock.goes_to(amount, per_minute=second, every=30)
            case "rest":
                lock.rest(amount, every=300 if amount > 600 else 30, noise=second)
            case "spacewalk":
                lock.goes_to(745, 90, every=20).context(PUMP, 1).rest(120).context(PUMP, 0).rest(second)
                lock.goes_to(0.5, 30, every=20)
                lock.rest(amount, every=300).goes_to(745, 90, every=20).rest(120)
            case "jump":
                lock.pressure = amount
                lock.read(amount, after=second)
            case "bad":
                lock.read(amount, after=second, status=4)
            case "los":
                lock.pressure = amount
                lock.link_lost(second).read(amount, after=1)
            case "pump":
                lock.context(PUMP, amount)
    return lock.silent(1)


@settings(max_examples=40, deadline=None)
@given(stories, st.lists(st.floats(0.001, 0.999), max_size=6), st.booleans())
def test_any_split_into_windows_gives_the_same_events(
    story: Any, cuts: list[float], link_known: bool
) -> None:
    lock = play(story)
    whole = lock.window(link_known=link_known)
    edges = sorted({whole.start, whole.end, *(whole.start + (whole.end - whole.start) * c for c in cuts)})
    merged: list[DetectedEvent] = []
    for start, end in pairwise(edges):
        until = min(end + DETECTOR.settle, whole.end)
        part = lock.window(start - DETECTOR.look_back, until, link_known=link_known)
        merged += [event for event in DETECTOR.detect(part) if start <= event.started_at < end]
    assert merged == DETECTOR.detect(whole)


@settings(max_examples=30, deadline=None)
@given(stories, st.randoms(use_true_random=False), st.booleans())
def test_order_and_duplicates_do_not_count(story: Any, random: Any, link_known: bool) -> None:
    window = play(story).window(link_known=link_known)
    order = [*range(len(window.readings)), *random.choices(range(len(window.readings)), k=10)]
    random.shuffle(order)
    shuffled = replace(window, readings=window.readings.iloc[order].reset_index(drop=True))
    assert DETECTOR.detect(shuffled) == DETECTOR.detect(window)


@settings(max_examples=30, deadline=None)
@given(stories)
def test_every_event_is_well_formed(story: Any) -> None:
    window = play(story).window()
    events = DETECTOR.detect(window)
    assert len({event.event_id for event in events}) == len(events)
    for event in events:
        assert event.event_type in DETECTOR.event_types
        assert 0.2 <= event.confidence <= 0.95
        assert event.payload["reasons"]
        if event.ended_at is not None:
            duration = (event.ended_at - event.started_at).total_seconds()
            assert duration >= 0
            assert event.payload["duration_seconds"] == duration
    walks = [event for event in events if event.event_type == "spacewalk"]
    for before, after in pairwise(walks):
        assert before.ended_at is None or before.ended_at < after.started_at
