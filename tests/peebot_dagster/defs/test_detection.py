from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from peebot_dagster.detection import (
    DetectionResult,
    detect_span,
    last_error,
    load_window,
    overdue_hours,
    record_failure,
    stale_hours,
)
from peebot_dagster.detectors.detector import Detector, LiveInterval
from peebot_dagster.store import contiguous_spans

StoreReadings = Callable[[Sequence[tuple[datetime, float]]], None]
SayLive = Callable[..., None]

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
SECOND = timedelta(seconds=1)


def events(connection: psycopg.Connection) -> list[dict[str, Any]]:
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            "SELECT event_id, started_at, ended_at, state, confidence, payload FROM detected_event"
            " WHERE state <> 'retracted' ORDER BY started_at"
        ).fetchall()


def catch_up(connection: psycopg.Connection, detector: Detector) -> list[DetectionResult]:
    """Detect over all that is stale, span by span."""
    spans = contiguous_spans(stale_hours(connection, detector.name))
    return [detect_span(connection, detector, start, end) for start, end in spans]


def random_level(seed: int, start: datetime, hours: int) -> list[tuple[datetime, float]]:
    """A level that dithers by 1 and now and then jumps by 2 to 5, with silent stretches of 10 minutes."""
    source = random.Random(seed)
    level, moment, readings = 5.0, start, []
    while moment < start + hours * HOUR:
        readings.append((moment, level))
        level = max(0, level + source.choice([-1, 1, -1, 1, 2, 3, 5, -4]))
        moment += timedelta(seconds=source.choice([1, 6, 30, 60, 600]))
    return readings


def test_a_jump_in_the_readings_becomes_one_row_whoever_looks_and_how_often(
    connection: psycopg.Connection, store_readings: StoreReadings, jump: Detector, day: datetime
) -> None:
    store_readings([(day, 10), (day + 10 * MINUTE, 13), (day + 2 * HOUR, 13)])

    first = detect_span(connection, jump, day, day + HOUR)
    again = detect_span(connection, jump, day, day + HOUR)
    wider = detect_span(connection, jump, day - HOUR, day + 3 * HOUR)

    assert [e.event_type for e in first.new] == ["jump"]
    assert first.changed_hours == (day,)
    assert not again.new
    assert not again.updated
    assert not again.changed_hours
    assert not wider.changed_hours
    assert [row["started_at"] for row in events(connection)] == [day + 10 * MINUTE]
    assert events(connection)[0]["payload"] == {"amount_percent": 3.0}


def test_the_window_holds_the_last_reading_before_it_and_ends_at_the_watermark(
    connection: psycopg.Connection,
    store_readings: StoreReadings,
    live_link: SayLive,
    jump: Detector,
    day: datetime,
) -> None:
    store_readings([(day - 5 * HOUR, 7), (day + 10 * MINUTE, 8)])
    live_link(day - 5 * HOUR, day + 20 * MINUTE)

    window = load_window(connection, jump, day, day + HOUR)

    assert window.start == day - jump.look_back
    assert window.end == day + 20 * MINUTE
    assert list(window.readings["value"]) == [7, 8]
    assert window.live == (LiveInterval(window.start, window.end),)
    assert str(window.readings.dtypes["status_class"]) == "Int64"


def test_a_window_tells_which_readings_came_as_a_first_state(
    connection: psycopg.Connection, store_readings: StoreReadings, jump: Detector, day: datetime
) -> None:
    store_readings([(day, 10), (day + MINUTE, 13), (day + 2 * MINUTE, 13)])
    connection.execute("UPDATE telemetry_reading SET is_snapshot = true WHERE ts = %s", (day + MINUTE,))
    window = load_window(connection, jump, day, day + HOUR)
    assert window.readings["is_snapshot"].tolist() == [False, True, False]


def test_without_any_word_about_the_link_the_window_says_so(
    connection: psycopg.Connection, store_readings: StoreReadings, jump: Detector, day: datetime
) -> None:
    store_readings([(day, 7)])

    assert load_window(connection, jump, day, day + HOUR).live is None


def test_a_replay_does_not_know_the_link(
    connection: psycopg.Connection,
    store_readings: StoreReadings,
    live_link: SayLive,
    jump: Detector,
    day: datetime,
) -> None:
    store_readings([(day, 10)])
    live_link(day - HOUR, day + HOUR, "replay")

    assert load_window(connection, jump, day, day + HOUR).live is None


def test_a_listening_daemon_holds_the_watermark_back_even_when_newer_telemetry_is_stored(
    connection: psycopg.Connection, store_readings: StoreReadings, jump: Detector, day: datetime
) -> None:
    store_readings([(day, 7), (day + 9 * MINUTE, 8), (day + 90 * HOUR, 8)])
    connection.execute(
        "INSERT INTO link_interval (source, state, started_at, last_seen_at)"
        " VALUES ('replay', 'LIVE', %s, %s)",
        (day, day + 10 * MINUTE),
    )

    assert load_window(connection, jump, day, day + HOUR).end == day + 10 * MINUTE


def test_an_event_closes_when_time_has_passed_although_its_channel_is_silent(
    connection: psycopg.Connection, store_readings: StoreReadings, jump: Detector, day: datetime
) -> None:
    store_readings([(day, 10), (day + 10 * MINUTE, 13)])
    catch_up(connection, jump)
    assert events(connection)[0]["state"] == "open"

    store_readings([(day + 9 * HOUR, 13)])
    caught_up = catch_up(connection, jump)

    assert events(connection)[0]["state"] == "closed"
    assert sum(len(result.updated) for result in caught_up) == 1


def test_an_hour_is_stale_until_the_watermark_has_passed_its_settle_time(
    connection: psycopg.Connection, store_readings: StoreReadings, jump: Detector, day: datetime
) -> None:
    store_readings([(day + 10 * MINUTE, 13)])
    catch_up(connection, jump)
    assert stale_hours(connection, jump.name) == [day]

    store_readings([(day + HOUR + 3 * MINUTE, 13)])
    catch_up(connection, jump)
    assert stale_hours(connection, jump.name) == [day + HOUR]


def test_an_hour_is_overdue_when_a_detection_would_settle_it(
    connection: psycopg.Connection, store_readings: StoreReadings, jump: Detector, day: datetime
) -> None:
    store_readings([(day + i * HOUR, 5) for i in range(6)])
    assert overdue_hours(connection, jump) == [day + i * HOUR for i in (3, 2, 1, 0)]

    # A replay is at 01:30: what is stored after it is not yet known to be all.
    connection.execute(
        "INSERT INTO link_interval (source, state, started_at, last_seen_at)"
        " VALUES ('replay', 'LIVE', %s, %s)",
        (day, day + 90 * MINUTE),
    )
    assert overdue_hours(connection, jump) == [day + i * HOUR for i in (3, 2, 0)]

    for hour in overdue_hours(connection, jump):
        detect_span(connection, jump, hour, hour + HOUR)
    assert overdue_hours(connection, jump) == []


def test_a_daemon_that_was_retired_without_a_word_holds_up_nothing_for_ever(
    connection: psycopg.Connection, store_readings: StoreReadings, jump: Detector, day: datetime
) -> None:
    store_readings([(day, 5), (day + HOUR, 5), (day + 20 * HOUR, 5)])
    connection.execute(
        "INSERT INTO link_interval (source, state, started_at, last_seen_at)"
        " VALUES ('isslive/old', 'LIVE', %s, %s)",
        (day, day + 90 * MINUTE),
    )
    assert overdue_hours(connection, jump) == [day], "it may yet come back with what it has heard"

    store_readings([(day + 30 * HOUR, 5)])
    assert overdue_hours(connection, jump) == [day + 20 * HOUR, day + HOUR, day]
    catch_up(connection, jump)
    assert stale_hours(connection, jump.name) == [day + 30 * HOUR]


def test_late_readings_correct_the_events_of_the_hour_before_and_after_them_too(
    connection: psycopg.Connection, store_readings: StoreReadings, jump: Detector, day: datetime
) -> None:
    store_readings([(day, 10), (day + HOUR + MINUTE, 16), (day + 5 * HOUR, 16)])
    catch_up(connection, jump)
    (event,) = events(connection)
    assert event["started_at"] == day + HOUR + MINUTE

    store_readings([(day + HOUR - SECOND, 15)])
    (result,) = [r for r in catch_up(connection, jump) if r.changed_hours]

    assert result.retracted == (event["event_id"],)
    assert result.changed_hours == (day, day + HOUR)
    assert [row["started_at"] for row in events(connection)] == [day + HOUR - SECOND]


@pytest.mark.parametrize("seed", range(4))
def test_a_stream_in_random_pieces_gives_the_same_events_as_one_backfill(
    connection: psycopg.Connection, store_readings: StoreReadings, jump: Detector, day: datetime, seed: int
) -> None:
    readings = random_level(seed, day, hours=6)
    source = random.Random(seed)
    rest = list(readings)
    while rest:
        size = source.randrange(1, 25)
        piece, rest = rest[:size], rest[size:]
        if source.random() < 0.2 and rest:
            late = rest.pop(0)
            store_readings(piece[::-1])
            catch_up(connection, jump)
            piece = [late]
        store_readings(piece)
        catch_up(connection, jump)
    while len(stale_hours(connection, jump.name)) > 1:
        catch_up(connection, jump)
    streamed = events(connection)

    connection.execute("DELETE FROM detected_event")
    detect_span(connection, jump, day, day + 7 * HOUR)

    assert len(streamed) > 10
    assert streamed == events(connection)


def test_a_failed_detection_leaves_the_store_as_it_was_and_says_why(
    connection: psycopg.Connection, store_readings: StoreReadings, broken: Detector, day: datetime
) -> None:
    store_readings([(day, 10)])

    with pytest.raises(ZeroDivisionError) as failure:
        detect_span(connection, broken, day, day + HOUR)
    record_failure(connection, broken, failure.value)

    assert stale_hours(connection, broken.name) == [day]
    assert last_error(connection, broken) == "ZeroDivisionError: by design"


def test_readings_that_are_stored_while_a_detection_runs_leave_their_hour_stale(
    connection: psycopg.Connection,
    database_url: str,
    store_readings: StoreReadings,
    jump: Detector,
    day: datetime,
) -> None:
    store_readings([(day, 10), (day + 5 * HOUR, 10)])

    class Interrupted(type(jump)):  # type: ignore[misc]
        def detect(self, window: Any) -> Any:
            store_readings([(day + MINUTE, 13)])
            return super().detect(window)

    with psycopg.connect(database_url) as other:
        detect_span(other, Interrupted(), day, day + HOUR)
    assert day in stale_hours(connection, jump.name)

    catch_up(connection, jump)
    assert len(events(connection)) == 1


def test_the_locks_of_a_detection_that_hangs_are_given_up(
    connection: psycopg.Connection,
    database_url: str,
    store_readings: StoreReadings,
    jump: Detector,
    day: datetime,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store_readings([(day, 10)])
    monkeypatch.setattr("peebot_dagster.detection.LONGEST_DETECTION", timedelta(milliseconds=100))
    idle = (
        "SELECT 1 FROM pg_stat_activity, pg_sleep(0.05)"
        " WHERE datname = current_database() AND state = 'idle in transaction'"
    )

    class Hanging(type(jump)):  # type: ignore[misc]
        def detect(self, window: Any) -> Any:
            with psycopg.connect(database_url, autocommit=True) as watching:
                for _ in range(400):
                    if not watching.execute(idle).fetchone():
                        break
            return []

    with psycopg.connect(database_url) as hanging, pytest.raises(psycopg.Error):
        detect_span(hanging, Hanging(), day, day + HOUR)
    assert stale_hours(connection, jump.name) == [day]
