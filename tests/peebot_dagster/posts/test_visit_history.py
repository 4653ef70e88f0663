from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import datetime, timedelta

import psycopg
import pytest

from peebot_dagster.posts.visit_history import event_facts

StoreEvent = Callable[..., uuid.UUID]

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


def test_an_unknown_event_is_an_error(connection: psycopg.Connection) -> None:
    with pytest.raises(LookupError):
        event_facts(connection, uuid.uuid4())
