from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from peebot_dagster.detectors.detector import DetectedEvent, LiveInterval, Window
from peebot_dagster.detectors.oxygen_generator import OGA_STATES, OxygenGeneratorDetector
from peebot_dagster.detectors.upa_cycle import UPA_STATES
from peebot_dagster.detectors.water_tanks import WPA_STATES

DETECTOR = OxygenGeneratorDetector()
STATE, RATE = DETECTOR.items
NOON = datetime(2025, 1, 10, 12, tzinfo=UTC)
FILL_VALUE = -59.457
Heard = tuple[float, str, float]
"""Minutes after noon, item, value."""


@pytest.fixture(scope="module")
def window(telemetry: Any) -> Callable[..., Window]:
    def made(heard: Sequence[Heard], minutes: float = 600, status: int = 24) -> Window:
        rows = [(NOON + timedelta(minutes=at), item, value, status) for at, item, value in sorted(heard)]
        made: Window = telemetry.window(rows, NOON, NOON + timedelta(minutes=minutes))
        return made

    return made


def states(*heard: tuple[float, float]) -> list[Heard]:
    return [(at, STATE, value) for at, value in heard]


def told(events: list[DetectedEvent]) -> list[tuple[float, str, str]]:
    return [
        (
            (event.started_at - NOON) / timedelta(minutes=1),
            event.payload["state_before"],
            event.payload["state_after"],
        )
        for event in events
    ]


def test_a_change_is_told_with_the_names_of_the_states(window: Any) -> None:
    events = DETECTOR.detect(window(states((0, 1), (60, 3), (90, 4))))
    assert told(events) == [(60, "process", "shutdown"), (90, "shutdown", "stop")]
    assert [(event.state, event.ended_at == event.started_at) for event in events] == [("closed", True)] * 2
    assert events[0].confidence == 0.95


@pytest.mark.parametrize(
    ("item", "names"), [(STATE, OGA_STATES), ("NODE3000006", WPA_STATES), ("NODE3000004", UPA_STATES)]
)
def test_the_states_have_the_names_of_the_catalogue(item: str, names: dict[float, str]) -> None:
    with files("sql").joinpath("channels.csv").open(encoding="utf-8") as lines:
        (row,) = [row for row in csv.DictReader(lines) if row["item_id"] == item]
    assert {f"{state:g}": name for state, name in names.items()} == json.loads(row["states"])


def test_the_same_state_again_is_no_change(window: Any) -> None:
    assert DETECTOR.detect(window(states((0, 1), (60, 1), (90, 1)))) == []


def test_chatter_that_ends_where_it_began_is_no_change(window: Any) -> None:
    chatter = [(60 + n / 4, 2.0 if n % 2 == 0 else 1.0) for n in range(12)]
    assert DETECTOR.detect(window(states((0, 1), *chatter))) == []


def test_a_change_that_begins_with_chatter_is_one_change(window: Any) -> None:
    heard = states((0, 1), (60, 2), (60.2, 1), (60.4, 2))
    assert told(DETECTOR.detect(window(heard))) == [(60, "process", "standby")]


def test_nothing_is_told_before_a_state_has_held_for_a_minute(window: Any) -> None:
    heard = states((0, 1), (60, 2))
    assert DETECTOR.detect(window(heard, minutes=60.9)) == []
    assert told(DETECTOR.detect(window(heard, minutes=61.1))) == [(60, "process", "standby")]


def test_the_state_that_holds_at_the_begin_is_no_change(window: Any) -> None:
    assert DETECTOR.detect(window(states((5, 2)))) == []


def test_the_rate_is_that_of_the_minutes_before_and_after(window: Any) -> None:
    rates = [(minute, RATE, 5.0 if minute < 60 else 2.0) for minute in range(0, 120, 2)]
    (event,) = DETECTOR.detect(window([*states((0, 1), (60, 2)), *rates]))
    assert (event.payload["rate_before_kg_per_day"], event.payload["rate_after_kg_per_day"]) == (5.0, 2.0)


def test_the_fill_value_is_no_rate(window: Any) -> None:
    rates = [(float(minute), RATE, FILL_VALUE) for minute in range(0, 120, 2)]
    (event,) = DETECTOR.detect(window([*states((0, 1), (60, 2)), *rates]))
    assert (event.payload["rate_before_kg_per_day"], event.payload["rate_after_kg_per_day"]) == (None, None)
    mixed = [(0.0, RATE, 5.0), (52.0, RATE, FILL_VALUE), (54.0, RATE, 4.0)]
    (event,) = DETECTOR.detect(window([*states((0, 1), (60, 2)), *mixed]))
    assert event.payload["rate_before_kg_per_day"] == pytest.approx((2 * 5 + 6 * 4) / 8)


def test_an_event_is_open_until_the_rate_after_it_is_known(window: Any) -> None:
    heard = [*states((0, 1), (60, 2)), (0.0, RATE, 5.0), (61.0, RATE, 0.0)]
    (early,) = DETECTOR.detect(window(heard, minutes=70))
    assert (early.state, early.payload["rate_after_kg_per_day"]) == ("open", None)
    (late,) = DETECTOR.detect(window(heard, minutes=90))
    assert (late.state, late.payload["rate_after_kg_per_day"]) == ("closed", 0.0)
    assert early.event_id == late.event_id


def test_a_change_in_a_loss_of_signal_is_an_interval_of_low_confidence(window: Any) -> None:
    live = (
        LiveInterval(NOON, NOON + timedelta(minutes=50)),
        LiveInterval(NOON + timedelta(minutes=60), NOON + timedelta(minutes=600)),
    )
    (event,) = DETECTOR.detect(replace(window(states((0, 1), (60, 2))), live=live))
    assert event.payload["masked"] is True
    assert event.payload["hidden_since"] == (NOON + timedelta(minutes=50)).isoformat()
    assert event.confidence < 0.7
    (event,) = DETECTOR.detect(replace(window(states((0, 1), (61, 2))), live=live))
    assert (event.payload["masked"], event.payload["hidden_since"]) == (False, None)


def test_a_flicker_that_goes_back_out_of_sight_is_no_change(window: Any) -> None:
    live = (
        LiveInterval(NOON, NOON + timedelta(minutes=60.5)),
        LiveInterval(NOON + timedelta(minutes=75), NOON + timedelta(minutes=600)),
    )
    assert DETECTOR.detect(replace(window(states((0, 4), (60, 2), (75, 4))), live=live)) == []


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 0.0, -1.0, 9.0, 1.5, 1e300])
def test_a_value_that_is_no_state_tells_nothing(window: Any, value: float) -> None:
    assert DETECTOR.detect(window(states((0, 1), (60, value), (90, 1)))) == []
    assert told(DETECTOR.detect(window(states((0, 1), (60, value), (60.05, 2))))) == [
        (60.05, "process", "standby")
    ]


def test_a_bad_reading_just_before_a_change_does_not_hide_it(window: Any) -> None:
    heard = states((0, 1), (500, float("nan")), (500.05, 2))
    assert told(DETECTOR.detect(window(heard))) == [(500.05, "process", "standby")]


def test_readings_of_a_bad_status_class_tell_nothing(window: Any) -> None:
    assert DETECTOR.detect(window(states((0, 1), (60, 2)), status=1)) == []


steps = st.lists(
    st.tuples(
        st.sampled_from([0.02, 0.2, 1.5, 8.0, 40.0, 200.0]),
        st.sampled_from([1.0, 2.0, 4.0, float("nan"), 99.0]),
    ),
    min_size=1,
    max_size=40,
)


@settings(max_examples=60, deadline=None)
@given(story=steps, cuts=st.lists(st.floats(0.001, 0.999), max_size=8))
def test_any_split_into_windows_gives_the_same_changes(window: Any, story: Any, cuts: list[float]) -> None:
    at, heard = 0.0, states((0, 1))
    for pause, state in story:
        at += pause
        heard.append((at, STATE, state))
    whole = window(heard, minutes=at + 1)
    start, end = whole.start, whole.end
    edges = sorted({start, end, *(start + (end - start) * cut for cut in cuts)})
    merged: list[DetectedEvent] = []
    for first, last in pairwise(edges):
        merged += [
            event
            for event in DETECTOR.detect(
                _part(whole, first - DETECTOR.look_back, min(last + DETECTOR.settle, end))
            )
            if first <= event.started_at < last
        ]
    assert merged == DETECTOR.detect(whole)


outages = st.lists(st.tuples(st.floats(0, 600), st.sampled_from([0.1, 0.5, 5.0, 30.0, 90.0])), max_size=6)


@settings(max_examples=25, deadline=None)
@given(story=steps.map(lambda story: story[:12]), away=outages)
@example(story=[(60.0, 4.0), (5.6, 1.0)], away=[(60.5, 5.0)])
def test_what_is_told_is_not_taken_back_and_what_is_closed_stays(
    window: Any, story: Any, away: list[tuple[float, float]]
) -> None:
    at, heard = 0.0, states((0, 1))
    for pause, state in story:
        at = min(at + pause, 690.0)
        # What happens while the link is away is heard when it is back.
        at = max([at, *(end + 0.02 for start, end in _spans(away) if start <= at < end)])
        heard.append((at, STATE, state))
    earlier: list[DetectedEvent] = []
    moments = [at for at, _, _ in heard] + [end for _, end in _spans(away)]
    for until in sorted({moment + later for moment in moments for later in (0.3, 1.1, 16, 30)}):
        known = window([row for row in heard if row[0] < until], minutes=until)
        now = DETECTOR.detect(replace(known, live=_live(away, until)))
        closed = {event.event_id: event for event in now}
        for event in earlier:
            assert event.event_id in closed
            if event.state == "closed":
                assert closed[event.event_id] == event
        earlier = now


def _spans(away: list[tuple[float, float]]) -> list[tuple[float, float]]:
    return sorted((start, start + lasts) for start, lasts in away)


def _live(away: list[tuple[float, float]], until: float) -> tuple[LiveInterval, ...]:
    begin, live = 0.0, []
    for start, end in _spans(away):
        if begin < min(start, until):
            live.append((begin, min(start, until)))
        begin = max(begin, end)
    if begin < until:
        live.append((begin, until))
    return tuple(LiveInterval(NOON + timedelta(minutes=a), NOON + timedelta(minutes=b)) for a, b in live)


def _part(whole: Window, start: datetime, end: datetime) -> Window:
    rows = whole.readings
    carried = rows[rows["ts"] < start].groupby("item").tail(1)
    inside = rows[(rows["ts"] >= start) & (rows["ts"] < end)]
    return Window(start, end, rows.loc[sorted({*carried.index, *inside.index})])
