from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import count

from hypothesis import given, settings
from hypothesis import strategies as st

from iss_simulator.agenda import Rehearsal
from iss_simulator.station import Station
from iss_simulator.urine_tank import LEVEL_ITEM
from peebot_dagster.posts.policy import PostPolicy
from peebot_local.demo_station import (
    FIRST_VISIT_AFTER_S,
    QUIET_BEFORE,
    VISIT_EVERY_S,
    DemoStation,
    first_station,
    next_station,
)

NOW = datetime(2026, 11, 24, 9, 41, 37, 500_900, tzinfo=UTC)
moments = st.datetimes(datetime(2026, 1, 5), datetime(2027, 12, 1), timezones=st.just(UTC))  # noqa: DTZ001


def first_visit(station: DemoStation, started_at: datetime) -> tuple[float, int]:
    """Of the station as the simulator runs it: seconds until the visit begins, and its steps."""
    rehearsal = Rehearsal(started_at, FIRST_VISIT_AFTER_S, VISIT_EVERY_S)
    live = Station(station.seed, station.since, rehearsal=rehearsal)
    visits = [
        event
        for event in live.truth_until(started_at + timedelta(minutes=5))
        if event.kind == "visit" and event.started_at > started_at
    ]
    return (visits[0].started_at - started_at).total_seconds(), visits[0].steps


@settings(max_examples=20, deadline=None)
@given(now=moments, seed=st.integers(0, 1_000_000), delay=st.integers(1, 40))
def test_whenever_the_demo_starts_a_visit_of_three_steps_or_more_begins_soon(
    now: datetime, seed: int, delay: int
) -> None:
    station = first_station(now, timedelta(days=2), count(seed))
    begins, steps = first_visit(station, now + timedelta(seconds=delay))
    assert abs(begins - FIRST_VISIT_AFTER_S) < 10
    assert steps >= 3


@settings(max_examples=20, deadline=None)
@given(now=moments, seed=st.integers(0, 1_000_000))
def test_the_history_leaves_no_visit_that_is_fresh_enough_for_a_joke_of_its_own(
    now: datetime, seed: int
) -> None:
    chosen = first_station(now, timedelta(days=2), count(seed))
    history = Station(chosen.seed, chosen.since).truth_until(now)
    assert [
        event for event in history if event.kind == "visit" and event.started_at > now - QUIET_BEFORE
    ] == []
    assert PostPolicy().freshness < QUIET_BEFORE


def test_the_history_begins_on_an_hour() -> None:
    station = first_station(NOW, timedelta(days=2), count())
    assert station.since == datetime(2026, 11, 22, 9, tzinfo=UTC)


def test_a_later_demo_goes_on_where_the_tank_stood() -> None:
    station = next_station(NOW, 41.0)
    assert station.since == NOW
    levels = [u for u in Station(station.seed, station.since).snapshot(NOW) if u.item == LEVEL_ITEM]
    assert [update.value for update in levels] == ["41"]
    begins, steps = first_visit(station, NOW + timedelta(seconds=3))
    assert abs(begins - FIRST_VISIT_AFTER_S) < 10
    assert steps >= 3
