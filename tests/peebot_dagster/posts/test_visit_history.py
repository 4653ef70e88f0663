from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from peebot_dagster.posts.facts import Facts
from peebot_dagster.posts.visit_history import event_facts, with_history

StoreEvent = Callable[..., uuid.UUID]
Live = Sequence[tuple[datetime, datetime]]
NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)

MINUTES_SINCE_DAY_START = 300
"""NOW of the tests is 09:00 UTC, the crew's day began at 04:00."""


@pytest.fixture
def live(connection: psycopg.Connection, now: datetime) -> Callable[[float, float], None]:
    """Makes the link LIVE from `start` to `end` minutes before NOW."""

    def store(start: float, end: float) -> None:
        times = [now - timedelta(minutes=start), now - timedelta(minutes=end)]
        connection.execute(
            "INSERT INTO link_interval (source, state, started_at, last_seen_at, ended_at)"
            " VALUES ('isslive', 'LIVE', %s, %s, %s)",
            [times[0], times[1], times[1]],
        )

    return store


def test_the_pause_runs_from_the_end_of_the_last_visit_of_any_kind(
    connection: psycopg.Connection, store_event: StoreEvent, live: Callable[[float, float], None]
) -> None:
    live(1_000, 0)
    store_event(minutes_ago=200)
    store_event(minutes_ago=40, event_type="toilet_visit_masked")
    store_event(minutes_ago=20, event_type="tank_transfer")
    store_event(minutes_ago=10, state="retracted")
    facts = event_facts(connection, store_event(minutes_ago=5))
    assert facts.minutes_since_last == pytest.approx(35 - 0.2)


def test_the_payload_and_the_duration_come_with_the_event(
    connection: psycopg.Connection, store_event: StoreEvent
) -> None:
    facts = event_facts(connection, store_event(amount_percent=5, upa_processing=True))
    assert (facts.percent, facts.ml, facts.level_before, facts.seconds, facts.processing) == (
        5,
        246,
        40,
        12,
        True,
    )


@pytest.mark.parametrize(("down", "known"), [(10, True), (100, False)])
def test_the_pause_is_unknown_when_the_link_was_away_for_more_than_a_tenth_of_it(
    connection: psycopg.Connection,
    store_event: StoreEvent,
    live: Callable[[float, float], None],
    down: float,
    known: bool,
) -> None:
    store_event(minutes_ago=200)
    live(300, 150)
    live(150 - down, 0)
    facts = event_facts(connection, store_event(minutes_ago=0))
    assert (facts.minutes_since_last is not None) is known
    assert (facts.visit_of_day is not None) is known


def test_without_an_earlier_visit_within_a_day_the_pause_is_unknown(
    connection: psycopg.Connection, store_event: StoreEvent, live: Callable[[float, float], None]
) -> None:
    live(3_000, 0)
    store_event(minutes_ago=1_450)
    assert event_facts(connection, store_event(minutes_ago=5)).minutes_since_last is None


def test_visits_are_counted_from_the_begin_of_the_crews_day(
    connection: psycopg.Connection, store_event: StoreEvent, live: Callable[[float, float], None]
) -> None:
    live(1_000, 0)
    store_event(minutes_ago=MINUTES_SINCE_DAY_START + 10)
    first = store_event(minutes_ago=MINUTES_SINCE_DAY_START - 10)
    store_event(minutes_ago=100, event_type="toilet_visit_masked")
    third = store_event(minutes_ago=50)
    store_event(minutes_ago=1)
    assert event_facts(connection, first).first_of_day is True
    assert event_facts(connection, third).visit_of_day == 3


def test_another_type_of_event_has_only_the_facts_of_its_payload(
    connection: psycopg.Connection, store_event: StoreEvent, live: Callable[[float, float], None]
) -> None:
    live(3_000, 0)
    store_event(minutes_ago=100)
    facts = event_facts(connection, store_event(event_type="tank_transfer", amount_percent=30))
    assert (facts.event_type, facts.percent, facts.visit_of_day) == ("tank_transfer", 30, None)


ALWAYS_LIVE = [(NOW - timedelta(days=60), NOW)]


def _visit(hours_ago: float, percent: float | None = 3, ml: float | None = 246) -> Facts:
    return Facts(NOW - timedelta(hours=hours_ago), percent, ml, seconds=12)


def _told(visit: Facts, *earlier: Facts, live: Live = ALWAYS_LIVE) -> Facts:
    return with_history(visit, sorted(earlier, key=lambda v: v.started_at, reverse=True), live)


def test_visits_of_the_last_hour_are_counted_with_this_one() -> None:
    assert _told(_visit(0), _visit(0.5), _visit(0.9), _visit(1.1)).visits_in_hour == 3


def test_a_row_of_visits_of_the_same_size_ends_at_the_first_other_one() -> None:
    assert _told(_visit(0), _visit(1), _visit(2), _visit(3, percent=4), _visit(4)).same_size_in_a_row == 3
    assert _told(_visit(0), _visit(1, percent=2)).same_size_in_a_row is None
    assert _told(_visit(0, percent=None), _visit(1, percent=None)).same_size_in_a_row is None


@pytest.mark.parametrize(
    ("earlier", "days"),
    [
        ([_visit(5, 6)], 30),
        ([_visit(5, 6), _visit(29 * 24, 7)], 7),
        ([_visit(5, 6), _visit(31 * 24, 7)], 30),
        ([_visit(5, 7)], None),
        ([_visit(5, 8)], None),
        ([_visit(5, None)], None),
        ([], None),
    ],
)
def test_a_record_is_bigger_than_everything_in_its_days(earlier: list[Facts], days: int | None) -> None:
    assert _told(_visit(0, 7), *earlier).biggest_in_days == days


@pytest.mark.parametrize(("pause", "days"), [(11, 30), (9, 7), (4, None)])
def test_a_pause_is_a_record_when_none_in_its_days_was_as_long(pause: float, days: int | None) -> None:
    # One every four hours, but for ten hours without one ten days ago.
    earlier = [_visit(pause + 4 * n + (6 if n > 60 else 0)) for n in range(180)]
    assert _told(_visit(0), *earlier).longest_pause_in_days == days


def test_the_week_is_added_up_from_its_monday() -> None:
    # NOW is a Tuesday, 09:00: the crew's week began 29 hours before.
    facts = _told(_visit(0), _visit(1, ml=400), _visit(28.9), _visit(29.1))
    assert (facts.week_visits, facts.week_ml) == (3, 892)
    assert _told(_visit(0), _visit(1, ml=None)).week_ml is None


def test_what_was_not_watched_is_not_told() -> None:
    earlier = [_visit(0.5), _visit(1, 2), _visit(4)]
    facts = _told(_visit(0), *earlier, live=[(NOW - timedelta(hours=2), NOW)])
    assert (facts.visits_in_hour, facts.same_size_in_a_row) == (3, 2)
    assert (facts.biggest_in_days, facts.longest_pause_in_days) == (None, None)
    assert (facts.week_visits, facts.week_ml, facts.visit_of_day) == (None, None, None)


def test_an_unknown_event_is_an_error(connection: psycopg.Connection) -> None:
    with pytest.raises(LookupError):
        event_facts(connection, uuid.uuid4())
