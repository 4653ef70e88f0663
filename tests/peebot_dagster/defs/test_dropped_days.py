from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest

from peebot_dagster.detection import DetectionResult, detect_span, stale_hours
from peebot_dagster.detectors.detector import Detector
from peebot_dagster.store import contiguous_spans

StoreReadings = Callable[[Sequence[tuple[datetime, float]]], None]

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)


@pytest.fixture
def two_days(
    connection: psycopg.Connection,
    store_readings: StoreReadings,
    live_link: Callable[[datetime, datetime], None],
    jump: Detector,
    day: datetime,
) -> list[Any]:
    """Jumps in the first day, around midnight, and in the second day; then the first day is dropped."""
    live_link(day, day + 2 * DAY)
    times = [3 * HOUR, 10 * HOUR, DAY - MINUTE, DAY + 5 * MINUTE, DAY + 3 * HOUR, 2 * DAY - HOUR]
    store_readings([(day, 5.0), *((day + at, 10.0 + 5 * i) for i, at in enumerate(times))])
    store_readings([(day + 2 * DAY + HOUR, 35)])
    catch_up(connection, jump)
    before = events(connection)
    assert len(before) == len(times)
    connection.commit()
    connection.execute("SELECT drop_old_telemetry('1 day', %s)", (day + 2 * DAY,))
    connection.commit()
    return before


def catch_up(connection: psycopg.Connection, detector: Detector) -> list[DetectionResult]:
    """Detect over all that is stale."""
    spans = contiguous_spans(stale_hours(connection, detector.name))
    return [detect_span(connection, detector, start, end) for start, end in spans]


def events(connection: psycopg.Connection) -> list[Any]:
    return connection.execute(
        "SELECT event_id, started_at, state, payload, updated_at FROM detected_event ORDER BY started_at"
    ).fetchall()


def test_a_backfill_over_days_whose_readings_were_dropped_disproves_no_event(
    connection: psycopg.Connection, two_days: list[Any], jump: Detector, day: datetime
) -> None:
    for start in (day, day + DAY, day + 5 * HOUR):
        assert not detect_span(connection, jump, start, start + DAY).changed_hours

    assert events(connection) == two_days


def test_a_late_reading_for_a_dropped_day_is_no_evidence_against_the_day(
    connection: psycopg.Connection,
    two_days: list[Any],
    store_readings: StoreReadings,
    jump: Detector,
    day: datetime,
) -> None:
    store_readings([(day + 3 * HOUR + MINUTE, 90), (day + 10 * HOUR, 7)])

    changed = [hour for result in catch_up(connection, jump) for hour in result.changed_hours]

    assert changed == []
    assert events(connection) == two_days


def test_days_whose_readings_are_there_are_judged_as_ever(
    connection: psycopg.Connection,
    two_days: list[Any],
    store_readings: StoreReadings,
    jump: Detector,
    day: datetime,
) -> None:
    assert two_days[-2][1] == day + DAY + 3 * HOUR
    store_readings([(day + DAY + 3 * HOUR - MINUTE, 29)])

    catch_up(connection, jump)

    states = {started_at: state for _, started_at, state, *_ in events(connection)}
    assert states[day + DAY + 3 * HOUR] == "retracted"
    assert states[day + DAY + 3 * HOUR - MINUTE] == "closed"


def test_a_replay_that_goes_on_where_a_dropped_day_ended_is_detected_from_its_first_minute(
    connection: psycopg.Connection,
    store_readings: StoreReadings,
    live_link: Callable[[datetime, datetime], None],
    jump: Detector,
    day: datetime,
) -> None:
    live_link(day, day + DAY)
    store_readings([(day, 5), (day + 23 * HOUR, 5)])
    catch_up(connection, jump)
    connection.execute("SELECT drop_old_telemetry('1 day', %s)", (day + 2 * DAY,))
    connection.commit()

    store_readings([(day + DAY + MINUTE, 9), (day + DAY + 2 * HOUR, 9)])
    detect_span(connection, jump, day + DAY, day + DAY + HOUR)

    assert [row[1] for row in events(connection)] == [day + DAY + MINUTE]
