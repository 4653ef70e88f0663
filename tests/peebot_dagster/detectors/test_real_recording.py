"""Thirty-four real days (26 Dec 2024 to 29 Jan 2025): nobody wrote down the truth, but much must hold."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from peebot_dagster.detectors.detector import DetectedEvent, Window
from peebot_dagster.detectors.level_readings import item_readings
from peebot_dagster.detectors.level_steps import level_steps
from peebot_dagster.detectors.recording import read_recording
from peebot_dagster.detectors.urine_tank import UrineTankDetector

DETECTOR = UrineTankDetector()
VISITS = ("toilet_visit", "toilet_visit_masked")


@pytest.fixture(scope="module")
def window(real_recording: Path) -> Window:
    return read_recording(real_recording, DETECTOR.level_item)


@pytest.fixture(scope="module")
def events(window: Window) -> list[DetectedEvent]:
    return DETECTOR.detect(window)


@pytest.fixture(scope="module")
def visits(events: list[DetectedEvent]) -> list[DetectedEvent]:
    return [event for event in events if event.event_type in VISITS]


def test_14_to_23_visits_a_day(visits: list[DetectedEvent]) -> None:
    by_day = Counter(visit.started_at.date() for visit in visits)
    least, typical, most = np.percentile(list(by_day.values()), [10, 50, 90])
    assert (least >= 14, 17 <= typical <= 20, most <= 23) == (True, True, True)
    assert max(by_day.values()) <= 36


def test_visits_are_as_great_as_people_are(visits: list[DetectedEvent]) -> None:
    by_amount = Counter(visit.payload["amount_percent"] for visit in visits)
    # Counts of 72 days of which these 34 are a part.
    expected = {2: 469, 3: 401, 4: 227, 5: 122, 6: 87, 7: 32}
    for amount, count in expected.items():
        assert by_amount[amount] == pytest.approx(count * 34 / 72, rel=0.3), f"{amount} %"
    assert sum(by_amount[amount] for amount in (8, 9, 10)) <= 25


def test_few_visits_at_night_and_a_jump_at_six(visits: list[DetectedEvent]) -> None:
    by_hour = Counter(visit.started_at.hour for visit in visits)
    night = sum(by_hour[hour] for hour in (22, 23, 0, 1, 2, 3)) / 6
    day = sum(by_hour[hour] for hour in range(6, 22)) / 16
    assert night < 0.4 * day
    assert by_hour[6] > 1.5 * by_hour[5]


def test_few_visits_are_masked(visits: list[DetectedEvent]) -> None:
    masked = sum(visit.event_type == "toilet_visit_masked" for visit in visits)
    assert 0.04 < masked / len(visits) < 0.12


def test_pumps_and_resets_are_no_visits(events: list[DetectedEvent]) -> None:
    by_type = Counter(event.event_type for event in events)
    assert 34 <= by_type["tank_transfer"] <= 65
    assert by_type["sensor_reset"] == 1
    for before, after in pairwise(events):
        assert before.ended_at is not None
        assert before.ended_at < after.started_at


def test_nothing_that_ends_as_something_else_was_ever_told_as_a_sure_visit(
    window: Window, events: list[DetectedEvent]
) -> None:
    ts = window.readings["ts"]
    asked = 0
    for event in events:
        if event.event_type in VISITS:
            continue
        assert event.ended_at is not None
        first = int(ts.searchsorted(event.started_at - DETECTOR.look_back))
        for place in range(int(ts.searchsorted(event.started_at)), int(ts.searchsorted(event.ended_at)) + 1):
            # Confidence grows while nothing is read: it is highest just before a reading.
            moment = ts.iloc[place] if place < len(ts) else window.end
            if moment - ts.iloc[place - 1] < timedelta(seconds=20):
                continue
            told = DETECTOR.detect(Window(ts.iloc[first], moment, window.readings.iloc[first:place]))
            asked += 1
            assert not [
                (early.started_at, early.confidence)
                for early in told
                if early.event_id == event.event_id
                and early.event_type == "toilet_visit"
                and early.confidence >= 0.8
            ]
    assert asked > 100


def test_lone_percents_are_as_many_as_they_are(events: list[DetectedEvent]) -> None:
    dribbles = sum(event.event_type == "dribble" for event in events)
    assert dribbles == pytest.approx(574 * 34 / 72, rel=0.15)


def test_mass_balance_holds_over_all_days(window: Window) -> None:
    steps = level_steps(window, item_readings(window, DETECTOR.level_item, 0, 100))
    tops = [step.level if step.size > 0 else step.level + 1 for step in steps]
    # The recorder was off for 15 h once: the band opens afresh, and may be off by its width.
    broken = [
        after.at - before.at
        for (before, after), (low, high) in zip(pairwise(steps), pairwise(tops), strict=True)
        if low + after.size != high
    ]
    assert len(broken) <= 1
    assert all(silence > 12 * 3600e6 for silence in broken)


@pytest.mark.parametrize("hours", [6, 24])
def test_window_after_window_gives_the_same_events(
    window: Window, events: list[DetectedEvent], hours: int
) -> None:
    ts = window.readings["ts"]
    found: list[DetectedEvent] = []
    start = window.start
    while start < window.end:
        end = min(start + timedelta(hours=hours), window.end)
        first, last = start - DETECTOR.look_back, min(end + DETECTOR.settle, window.end)
        begin = max(0, int(ts.searchsorted(first)) - 1)
        part = Window(first, last, window.readings.iloc[begin : int(ts.searchsorted(last))])
        found += [event for event in DETECTOR.detect(part) if start <= event.started_at < end]
        start = end
    assert found == events
