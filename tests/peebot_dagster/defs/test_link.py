"""What detection knows of the link: LIVE, LOS and neither, over all sources."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest

from peebot_dagster.detection import detect_span, load_window
from peebot_dagster.detectors.detector import LiveInterval, LostInterval
from peebot_dagster.detectors.signal import SignalDetector
from peebot_dagster.link import load_link

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
SayState = Callable[..., None]


@pytest.fixture
def say_state(connection: psycopg.Connection, day: datetime) -> SayState:
    """Says in which state a source's link was, from and to in minutes of the day; no end: it still is."""

    def say(state: str, start: float, end: float | None, *, seen: float = 0, source: str = "isslive") -> None:
        ended_at = None if end is None else day + end * MINUTE
        connection.execute(
            "INSERT INTO link_interval (source, state, started_at, last_seen_at, ended_at)"
            " VALUES (%s, %s, %s, %s, %s)",
            (source, state, day + start * MINUTE, ended_at or day + seen * MINUTE, ended_at),
        )
        connection.commit()

    return say


def test_los_is_told_apart_from_live_and_from_down(
    connection: psycopg.Connection, say_state: SayState, day: datetime
) -> None:
    say_state("LIVE", 0, 10)
    say_state("LOS", 10, 14)
    say_state("LIVE", 14, 20)
    say_state("DOWN", 20, 30)
    say_state("LIVE", 30, 40)
    link = load_link(connection, day, day + 40 * MINUTE)
    assert link.lost == (LostInterval(day + 10 * MINUTE, day + 14 * MINUTE),)
    assert link.live is not None
    assert LiveInterval(day + 30 * MINUTE, day + 40 * MINUTE) in link.live


def test_what_another_source_heard_was_not_lost(
    connection: psycopg.Connection, say_state: SayState, day: datetime
) -> None:
    say_state("LOS", -300, 60)
    say_state("LIVE", -200, -100, source="second")
    say_state("LIVE", 10, 20, source="second")
    assert load_link(connection, day, day + HOUR).lost == (
        LostInterval(day - 100 * MINUTE, day + 10 * MINUTE),
        LostInterval(day + 20 * MINUTE, day + 60 * MINUTE),
    )


def test_a_loss_that_goes_on_is_known_as_far_as_it_was_seen(
    connection: psycopg.Connection, say_state: SayState, day: datetime
) -> None:
    say_state("LIVE", 0, 10)
    say_state("LOS", 10, None, seen=12)
    assert load_link(connection, day, day + HOUR).lost == (
        LostInterval(day + 10 * MINUTE, day + 12 * MINUTE),
    )


def test_a_replay_does_not_know_of_losses(
    connection: psycopg.Connection, say_state: SayState, day: datetime
) -> None:
    say_state("LOS", 0, 10, source="replay/1")
    assert load_link(connection, day, day + HOUR).lost is None


def test_of_the_clock_s_ticks_only_those_that_tell_of_a_loss_are_loaded(
    connection: psycopg.Connection, say_state: SayState, store_readings: Any, day: datetime
) -> None:
    ticks = [(day + timedelta(seconds=second), second * 1000.0) for second in range(600)]
    store_readings(ticks, SignalDetector().clock_item)
    connection.execute("UPDATE telemetry_reading SET status_class = 1 WHERE ts = %s", (day + 5 * MINUTE,))
    connection.commit()
    assert len(load_window(connection, SignalDetector(), day, day + HOUR).readings) == 600
    say_state("LIVE", 0, 10)
    window = load_window(connection, SignalDetector(), day, day + HOUR)
    assert window.readings["ts"].tolist() == [day + 5 * MINUTE]


def test_a_loss_becomes_an_event_that_closes_when_the_station_is_heard_again(
    connection: psycopg.Connection, say_state: SayState, store_readings: Any, day: datetime
) -> None:
    store_readings([(day + second * timedelta(seconds=1), 0.0) for second in range(600)], "TIME_000001")
    say_state("LIVE", 0, 10)
    say_state("LOS", 10, None, seen=11)
    (event,) = detect_span(connection, SignalDetector(), day, day + HOUR).new
    assert (event.started_at, event.state) == (day + 10 * MINUTE, "open")
    connection.execute("UPDATE link_interval SET ended_at = %s WHERE state = 'LOS'", (day + 12 * MINUTE,))
    say_state("LIVE", 12, None, seen=13)
    result = detect_span(connection, SignalDetector(), day, day + HOUR)
    (updated,) = result.updated
    assert (updated.event_id, updated.state) == (event.event_id, "closed")
    assert updated.payload["duration_seconds"] == 120
    assert result.new == ()
