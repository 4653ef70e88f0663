"""Depressurisations and spacewalks, written down as the pressure of the crew lock."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peebot_dagster.detectors.airlock import AirlockDetector
from peebot_dagster.detectors.detector import DetectedEvent, LiveInterval, Window

DETECTOR = AirlockDetector()
LOCK, EQUIPMENT, PUMP, SUIT, MODE = (
    "AIRLOCK000049",
    "AIRLOCK000054",
    "AIRLOCK000047",
    "AIRLOCK000001",
    "USLAB000086",
)
MORNING = datetime(2025, 1, 10, 6, tzinfo=UTC)
MINUTE, HOUR = 60, 3600


@dataclass
class Lock:
    """A crew lock whose telemetry is written down: each verb takes up where the one before ended."""

    pressure: float = 745.0
    now: datetime = MORNING
    rows: list[tuple[datetime, str, float, int]] = field(default_factory=list)
    away: list[tuple[datetime, datetime]] = field(default_factory=list)

    def read(self, value: float, after: float = 0.0, status: int = 24) -> Lock:
        self.now += timedelta(seconds=after)
        self.rows.append((self.now, LOCK, value, status))
        return self

    def rest(self, seconds: float, every: float = 60.0, noise: float = 0.3) -> Lock:
        """Stay where it is; the readings tell of a little noise."""
        for number in range(int(seconds // every)):
            self.read(self.pressure + (noise if number % 2 else -noise), after=every)
        return self

    def silent(self, seconds: float) -> Lock:
        self.now += timedelta(seconds=seconds)
        return self

    def goes_to(self, goal: float, per_minute: float, every: float = 5.0) -> Lock:
        """Move on a straight line, read every few seconds."""
        step = per_minute / 60 * every * (1 if goal > self.pressure else -1)
        while abs(goal - self.pressure) > abs(step):
            self.pressure += step
            self.read(self.pressure, after=every)
        self.pressure = goal
        return self.read(goal, after=every)

    def link_lost(self, seconds: float) -> Lock:
        self.away.append((self.now + timedelta(seconds=1), self.now + timedelta(seconds=seconds)))
        return self.silent(seconds)

    def context(self, item: str, value: float) -> Lock:
        self.rows.append((self.now, item, value, 24))
        return self

    def window(
        self, start: datetime | None = None, end: datetime | None = None, *, link_known: bool = True
    ) -> Window:
        """What a store gives for [start, end): the readings in it, the last ones before, and the link."""
        rows = sorted(self.rows, key=lambda row: (row[0], row[3], row[2]))
        start = rows[0][0] if start is None else start
        end = self.now + timedelta(microseconds=1) if end is None else end
        carried = {row[1]: row for row in rows if row[0] < start}
        inside = [row for row in rows if start <= row[0] < end]
        live = tuple(self._live(start, end)) if link_known else None
        return Window(start, end, frame([*carried.values(), *inside]), live)

    def _live(self, start: datetime, end: datetime) -> Iterator[LiveInterval]:
        edges = [start, *(edge for gap in self.away for edge in gap), end]
        for begin, until in zip(edges[::2], edges[1::2], strict=True):
            clipped = LiveInterval(max(begin, start), min(until, end))
            if clipped.start < clipped.end:
                yield clipped

    def events(self, *, link_known: bool = True) -> list[DetectedEvent]:
        return DETECTOR.detect(self.window(link_known=link_known))


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


def prepared() -> Lock:
    """Two hours of peace; the pump, the suits and the station are ready."""
    lock = Lock().read(745.0).context(EQUIPMENT, 745.0).rest(2 * HOUR)
    return lock.context(PUMP, 1).context(SUIT, 18.5).context(MODE, 16)


def emptied(lock: Lock) -> Lock:
    """As it is done: to 5 psi, a leak check, and on to vacuum."""
    return lock.goes_to(259, per_minute=35).rest(5 * MINUTE, every=5).goes_to(0.5, per_minute=12)


def filled(lock: Lock) -> Lock:
    return lock.goes_to(259, per_minute=90).rest(3 * MINUTE, every=5).goes_to(745, per_minute=60)


def types(events: list[DetectedEvent]) -> list[str]:
    return [event.event_type for event in events]


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
