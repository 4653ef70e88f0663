"""The simulated attitude: what is told of a turn is what happens."""

from __future__ import annotations

import math
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from iss_simulator.attitude import MANOEUVRE, MODE, QUATERNION, SATURATION, Attitude

SINCE = datetime(2026, 5, 1, tzinfo=UTC)
DAYS = 40


@pytest.fixture(scope="module")
def attitude() -> Attitude:
    """An attitude with forty days behind it."""
    attitude = Attitude(2, SINCE)
    attitude.tell(SINCE + timedelta(days=DAYS))
    return attitude


def quaternion_at(attitude: Attitude, moment: datetime) -> list[float]:
    return [
        next(float(u.value) for u in reversed(attitude.updates[item]) if u.ts <= moment)
        for item in QUATERNION
    ]


def test_a_quaternion_has_the_length_1_and_turns_as_far_as_the_truth_says(attitude: Attitude) -> None:
    turns = [event for event in attitude.truth if event.kind == "station_manoeuvre"]
    assert len(turns) > 10
    for turn in turns:
        before = quaternion_at(attitude, turn.started_at)
        after = quaternion_at(attitude, turn.ended_at + timedelta(seconds=1))
        assert math.hypot(*before) == pytest.approx(1, abs=1e-6)
        assert math.hypot(*after) == pytest.approx(1, abs=1e-6)
        product = abs(sum(a * b for a, b in zip(before, after, strict=True)))
        angle = math.degrees(2 * math.acos(min(1.0, product)))
        assert angle == pytest.approx(float(turn.facts["angle_deg"]), abs=1.5)


def test_the_flag_is_up_during_each_turn(attitude: Attitude) -> None:
    flag = attitude.updates[MANOEUVRE]
    for turn in attitude.truth:
        if turn.kind == "station_manoeuvre":
            said = [u for u in flag if turn.started_at <= u.ts < turn.ended_at + timedelta(seconds=1)]
            assert [update.value for update in said] == ["1", "0"]


def test_each_true_change_of_the_mode_is_said(attitude: Attitude) -> None:
    changes = [event for event in attitude.truth if event.kind == "attitude_mode_change"]
    for event in changes:
        until = event.started_at + timedelta(seconds=9)
        said = [u.value for u in attitude.updates[MODE] if event.started_at <= u.ts < until]
        assert float(said[-1]) == event.facts["to"]
    assert all(before.facts["to"] == after.facts["from"] for before, after in pairwise(changes))


def test_saturation_is_told_where_it_lasts(attitude: Attitude) -> None:
    for event in attitude.truth:
        if event.kind == "gyroscope_saturation":
            values = [
                float(u.value)
                for u in attitude.updates[SATURATION]
                if event.started_at <= u.ts < event.ended_at
            ]
            assert min(values) > 90


def test_no_item_is_told_of_more_than_once_a_second_and_hardly_at_rest(attitude: Attitude) -> None:
    for updates in attitude.updates.values():
        assert all(later.ts - earlier.ts >= timedelta(seconds=0.9) for earlier, later in pairwise(updates))
        assert len(updates) < DAYS * 3000


def test_the_story_does_not_depend_on_how_often_it_is_asked_for(attitude: Attitude) -> None:
    stepwise = Attitude(2, SINCE)
    for hour in range(10 * 24 + 1):
        now = SINCE + timedelta(hours=hour)
        stepwise.tell(now)
        began = [event for event in attitude.truth if event.started_at <= now]
        assert [event for event in stepwise.truth if event.started_at <= now] == began
    for item, updates in attitude.updates.items():
        assert [u for u in stepwise.updates[item] if u.ts <= now] == [u for u in updates if u.ts <= now]


def test_there_is_something_of_everything(attitude: Attitude) -> None:
    kinds = Counter(event.kind for event in attitude.truth)
    assert set(kinds) == {"attitude_mode_change", "station_manoeuvre", "gyroscope_saturation"}
    assert min(kinds.values()) >= 3
