"""Mode changes, manoeuvres and saturated gyroscopes, written down as telemetry."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from itertools import pairwise
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peebot_dagster.detectors.attitude import (
    CONTROL_MODES,
    STATION_MODES,
    AttitudeDetector,
    angle_between,
)
from peebot_dagster.detectors.detector import DetectedEvent, LiveInterval, Window

DETECTOR = AttitudeDetector()
MODE, TURNING, SATURATION, INHIBITED, STATION = (
    "USLAB000012",
    "USLAB000081",
    "USLAB000010",
    "USLAB000011",
    "USLAB000086",
)
QUATERNION = ("USLAB000018", "USLAB000019", "USLAB000020", "USLAB000021")
NOON = datetime(2025, 1, 10, 12, tzinfo=UTC)
MINUTE, HOUR = 60, 3600


def about_yaw(degrees: float) -> tuple[float, float, float, float]:
    half = math.radians(degrees) / 2
    return (math.cos(half), 0.0, 0.0, math.sin(half))


@dataclass
class Steering:
    """A station whose steering is written down: each verb takes up where the one before ended."""

    now: datetime = NOON
    yaw: float = 0.0
    rows: list[tuple[datetime, str, float, int]] = field(default_factory=list)
    away: list[tuple[datetime, datetime]] = field(default_factory=list)

    def says(self, item: str, value: float, after: float = 0.0, status: int = 24) -> Steering:
        self.now += timedelta(seconds=after)
        self.rows.append((self.now, item, value, status))
        return self

    def attitude(self, yaw: float, sign: int = 1, after: float = 0.0) -> Steering:
        self.now += timedelta(seconds=after)
        self.yaw = yaw
        for item, part in zip(QUATERNION, about_yaw(yaw), strict=True):
            self.says(item, sign * part)
        return self

    def turns(self, yaw: float, seconds: float, sign: int = 1) -> Steering:
        """Turn to another attitude, with the flag up."""
        start = self.yaw
        self.says(TURNING, 1, after=1)
        for share in (0.25, 0.5, 0.75, 1.0):
            self.attitude(start + (yaw - start) * share, sign, after=seconds / 4)
        return self.says(TURNING, 0)

    def silent(self, seconds: float) -> Steering:
        self.now += timedelta(seconds=seconds)
        return self

    def link_lost(self, seconds: float) -> Steering:
        self.away.append((self.now + timedelta(seconds=1), self.now + timedelta(seconds=seconds)))
        return self.silent(seconds)

    def window(
        self, start: datetime | None = None, end: datetime | None = None, *, link_known: bool = True
    ) -> Window:
        """What a store gives for [start, end): the readings in it, the last ones before, and the link."""
        rows = sorted(self.rows, key=lambda row: (row[0], row[3], row[2]))
        start = rows[0][0] if start is None else start
        end = self.now + timedelta(microseconds=1) if end is None else end
        carried = {row[1]: row for row in rows if row[0] < start}
        inside = [row for row in rows if start <= row[0] < end]
        edges = [start, *(edge for gap in self.away for edge in gap), end]
        pairs = zip(edges[::2], edges[1::2], strict=True)
        clipped = [LiveInterval(max(begin, start), min(until, end)) for begin, until in pairs]
        live = tuple(interval for interval in clipped if interval.start < interval.end)
        return Window(start, end, frame([*carried.values(), *inside]), live if link_known else None)

    def events(self, event_type: str | None = None) -> list[DetectedEvent]:
        found = DETECTOR.detect(self.window())
        return [event for event in found if event_type in (None, event.event_type)]


def frame(rows: Iterable[tuple[datetime, str, float, int]]) -> pd.DataFrame:
    rows = list(rows)
    return pd.DataFrame(
        {
            "ts": pd.to_datetime([row[0] for row in rows], utc=True),
            "item": pd.Series([row[1] for row in rows], dtype="object"),
            "value": pd.Series([row[2] for row in rows], dtype="float64"),
            "status_class": pd.Series([row[3] for row in rows], dtype="Int64"),
        }
    )


def steady() -> Steering:
    """Three hours of holding the attitude with the gyroscopes."""
    steering = Steering().says(MODE, 4).says(TURNING, 0).says(SATURATION, 30).says(STATION, 2)
    return steering.attitude(0.0).silent(3 * HOUR)


@pytest.mark.parametrize(
    ("item", "names"), [(MODE, CONTROL_MODES), (STATION, STATION_MODES)], ids=["control", "station"]
)
def test_the_names_of_modes_are_those_of_the_catalogue(item: str, names: Mapping[float, str]) -> None:
    with files("sql").joinpath("channels.csv").open(encoding="utf-8") as lines:
        (states,) = [row["states"] for row in csv.DictReader(lines) if row["item_id"] == item]
    assert dict(names) == {float(number): name for number, name in json.loads(states).items()}


def test_a_mode_change_tells_both_modes_by_name() -> None:
    (event,) = steady().says(MODE, 7).silent(60).events()
    assert event.event_type == "attitude_mode_change"
    assert event.started_at == event.ended_at == NOON + timedelta(hours=3)
    assert (event.payload["from_name"], event.payload["to_name"]) == ("gyroscopes", "free drift")
    assert (event.state, event.confidence) == ("closed", 0.95)


def test_a_mode_change_is_open_until_it_is_no_flicker() -> None:
    (early,) = steady().says(MODE, 5).silent(3).events()
    (later,) = steady().says(MODE, 5).silent(30).events()
    assert (early.state, early.confidence, later.state) == ("open", 0.6, "closed")
    assert early.event_id == later.event_id


def test_a_mode_that_flickers_or_repeats_has_not_changed() -> None:
    assert steady().says(MODE, 7).says(MODE, 4, after=2).says(MODE, 4, after=100).silent(60).events() == []


def test_a_mode_on_the_way_is_named_as_such() -> None:
    (event,) = steady().says(MODE, 3).says(MODE, 6, after=4).silent(60).events()
    assert event.payload["through"] == ["standby"]
    assert event.payload["to_name"] == "making user data"


def test_a_mode_that_nobody_knows_is_told_with_less_confidence() -> None:
    (event,) = steady().says(MODE, 9).silent(60).events()
    assert event.payload["to_name"] == "unknown (9)"
    assert event.confidence == 0.5


def test_a_mode_that_changed_out_of_sight_is_an_interval() -> None:
    steering = steady()
    lost = steering.now + timedelta(seconds=1)
    (event,) = steering.link_lost(300).says(MODE, 5, after=1).silent(60).events()
    assert event.payload["hidden_since"] == lost.isoformat()
    assert event.confidence == 0.7


def test_a_manoeuvre_tells_how_far_the_station_has_turned() -> None:
    steering = steady().says(MODE, 5).silent(MINUTE)
    (event,) = steering.turns(90.0, 900).silent(MINUTE).events("station_manoeuvre")
    assert event.payload["angle_deg"] == pytest.approx(90.0, abs=0.1)
    assert event.payload["duration_seconds"] == 900
    assert event.payload["control_mode"] == "gyroscopes and thrusters"
    assert event.payload["station_mode"] == "microgravity"
    assert (event.state, event.confidence) == ("closed", 0.9)


def test_the_negative_of_a_quaternion_is_the_same_attitude() -> None:
    (event,) = steady().turns(90.0, 900, sign=-1).silent(MINUTE).events("station_manoeuvre")
    assert event.payload["angle_deg"] == pytest.approx(90.0, abs=0.1)


def test_a_manoeuvre_is_open_while_it_lasts_and_its_angle_grows() -> None:
    steering = steady().says(TURNING, 1, after=1).attitude(20.0, after=120)
    (early,) = steering.events()
    (later,) = steering.attitude(50.0, after=120).events()
    assert [event.state for event in (early, later)] == ["open", "open"]
    assert [event.payload["angle_deg"] for event in (early, later)] == [20.0, 50.0]
    assert early.event_id == later.event_id


def test_a_flag_that_is_up_for_seconds_is_no_manoeuvre() -> None:
    assert steady().says(TURNING, 1, after=1).says(TURNING, 0, after=3).silent(60).events() == []
    assert steady().says(TURNING, 1, after=1).silent(3).events() == []


def test_a_flag_that_flickers_at_the_end_ends_one_manoeuvre() -> None:
    steering = steady().turns(30.0, 600).says(TURNING, 1, after=2).says(TURNING, 0, after=2).silent(60)
    (event,) = steering.events()
    assert event.payload["duration_seconds"] == 600


def test_a_flag_without_a_turn_is_doubted() -> None:
    (event,) = steady().turns(0.5, 600).silent(60).events()
    assert event.confidence == 0.5


def test_a_flag_that_stays_up_for_hours_is_hardly_a_manoeuvre() -> None:
    (event,) = steady().says(TURNING, 1).silent(3 * HOUR).says(TURNING, 0).silent(60).events()
    assert (event.state, event.ended_at, event.confidence) == ("closed", None, 0.4)


def test_the_angle_of_a_manoeuvre_that_began_out_of_sight_counts_from_before_it() -> None:
    steering = steady().link_lost(400).says(TURNING, 1, after=1).attitude(60.0)
    (event,) = steering.attitude(90.0, after=300).says(TURNING, 0).silent(60).events()
    assert event.payload["angle_deg"] == pytest.approx(90.0, abs=0.1)
    assert event.payload["hidden_since"] is not None
    assert event.confidence == 0.7


def test_without_an_attitude_a_manoeuvre_has_no_angle() -> None:
    steering = Steering().says(TURNING, 0).silent(3 * HOUR).says(TURNING, 1).says(TURNING, 0, after=600)
    (event,) = steering.silent(60).events()
    assert event.payload["angle_deg"] is None
    assert event.confidence == 0.7


def test_gyroscopes_are_saturated_from_90_percent_until_they_were_last_there() -> None:
    steering = steady().says(SATURATION, 91)
    for value in (96, 89, 93, 85, 79):
        steering.says(SATURATION, value, after=300)
    (event,) = steering.silent(10 * MINUTE).events()
    assert event.event_type == "gyroscope_saturation"
    assert event.payload["duration_seconds"] == 1200
    assert event.payload["greatest_saturation_percent"] == 96
    assert event.state == "closed"


def test_a_saturation_of_a_moment_is_none() -> None:
    assert steady().says(SATURATION, 99).says(SATURATION, 40, after=60).silent(600).events() == []


def test_a_saturation_that_lasts_is_open_and_after_two_hours_closed_without_an_end() -> None:
    steering = steady().says(INHIBITED, 1).says(SATURATION, 95)
    (early,) = steering.silent(10 * MINUTE).events()
    (later,) = steering.silent(2.5 * HOUR).events()
    assert (early.state, later.state, later.ended_at) == ("open", "closed", None)
    assert early.payload["desaturation_inhibited"] is True


quaternions = st.tuples(*[st.floats(-1, 1)] * 4).filter(lambda q: math.hypot(*q) > 0.1)


@given(quaternions, quaternions, st.sampled_from([1, -1]))
def test_the_angle_between_attitudes_is_symmetric_and_knows_no_sign(
    before: Any, after: Any, sign: int
) -> None:
    a, b = ([part / math.hypot(*q) for part in q] for q in (before, after))
    angle = angle_between(a, b)
    assert angle is not None
    assert 0 <= angle <= 180
    assert angle_between(b, a) == pytest.approx(angle, abs=1e-5)
    assert angle_between([sign * part for part in a], b) == pytest.approx(angle, abs=1e-5)


def test_what_is_no_attitude_has_no_angle() -> None:
    assert angle_between([1, 0, 0, None], [1, 0, 0, 0]) is None
    assert angle_between([1, 0, 0, 0], [0.5, 0, 0, 0]) is None


acts = st.one_of(
    st.tuples(st.just("mode"), st.sampled_from([3, 4, 5, 9]), st.sampled_from([0, 2, 10, 300])),
    st.tuples(st.just("flag"), st.sampled_from([0, 1]), st.sampled_from([0, 3, 9, 10, 11, 600, 7000])),
    st.tuples(st.just("attitude"), st.sampled_from([0, 1, 45, 180]), st.sampled_from([1, 100])),
    st.tuples(
        st.just("saturation"), st.sampled_from([50, 81, 85, 91, 99]), st.sampled_from([60, 119, 120, 1700])
    ),
    st.tuples(st.just("bad"), st.sampled_from(range(3)), st.sampled_from([0, 5, 3600])),
    st.tuples(st.just("los"), st.just(0), st.sampled_from([7, 100, 3000, 8000])),
    st.tuples(st.just("peace"), st.just(0), st.sampled_from([5, 3600, 9000])),
)
stories = st.lists(acts, min_size=1, max_size=30)


def play(story: list[tuple[str, int, int]]) -> Steering:
    steering = Steering().says(MODE, 4).says(TURNING, 0).says(SATURATION, 50).attitude(0)
    for act, value, seconds in story:
        match act:
            case "mode":
                steering.says(MODE, value, after=seconds)
            case "flag":
                steering.says(TURNING, value, after=seconds)
            case "attitude":
                steering.attitude(value, after=seconds)
            case "saturation":
                steering.says(SATURATION, value, after=seconds)
            case "bad":
                steering.says((MODE, TURNING, SATURATION)[value], 1, after=seconds, status=1)
            case "los":
                steering.link_lost(seconds)
            case "peace":
                steering.silent(seconds)
    return steering.silent(1)


@settings(max_examples=60, deadline=None)
@given(stories, st.lists(st.floats(0.001, 0.999), max_size=6), st.booleans())
def test_any_split_into_windows_gives_the_same_events(
    story: Any, cuts: list[float], link_known: bool
) -> None:
    steering = play(story)
    whole = steering.window(link_known=link_known)
    edges = sorted({whole.start, whole.end, *(whole.start + (whole.end - whole.start) * c for c in cuts)})
    merged: list[DetectedEvent] = []
    for start, end in pairwise(edges):
        until = min(end + DETECTOR.settle, whole.end)
        part = steering.window(start - DETECTOR.look_back, until, link_known=link_known)
        merged += [event for event in DETECTOR.detect(part) if start <= event.started_at < end]
    assert merged == DETECTOR.detect(whole)


@settings(max_examples=40, deadline=None)
@given(stories, st.randoms(use_true_random=False))
def test_order_and_duplicates_do_not_count(story: Any, random: Any) -> None:
    window = play(story).window()
    order = [*range(len(window.readings)), *random.choices(range(len(window.readings)), k=10)]
    random.shuffle(order)
    shuffled = replace(window, readings=window.readings.iloc[order].reset_index(drop=True))
    assert DETECTOR.detect(shuffled) == DETECTOR.detect(window)


@settings(max_examples=40, deadline=None)
@given(stories)
def test_every_event_is_well_formed(story: Any) -> None:
    events = DETECTOR.detect(play(story).window())
    assert len({event.event_id for event in events}) == len(events)
    for event in events:
        assert event.event_type in DETECTOR.event_types
        assert 0 < event.confidence <= 0.95
        assert event.payload["reasons"]
        assert event.ended_at is None or event.ended_at >= event.started_at
    turns = [event for event in events if event.event_type == "station_manoeuvre"]
    for before, after in pairwise(turns):
        assert before.ended_at is None or before.ended_at < after.started_at
