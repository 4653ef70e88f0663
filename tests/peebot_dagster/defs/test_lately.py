"""Which hours are live detection's, and which the schedule's."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import psycopg

from peebot_dagster.detection import overdue_hours
from peebot_dagster.detectors.detector import Detector
from peebot_dagster.detectors.registry import DETECTORS
from peebot_dagster.looks import LATELY, Looks
from peebot_dagster.states import States

HOUR = timedelta(hours=1)


def test_what_was_stored_long_ago_and_never_seen_is_left_to_the_schedule(
    connection: psycopg.Connection, store_readings: Callable[..., None], jump: Detector, day: datetime
) -> None:
    now = datetime.now(UTC)
    store_readings([(day, 5), (day + HOUR, 5), (day + 2 * HOUR, 5)])
    connection.execute(
        "UPDATE telemetry_revision SET updated_at = %s WHERE hour = %s", (now - LATELY - HOUR, day)
    )
    connection.commit()

    assert Looks(connection, [jump], States([jump])).agendas(now)[jump.name].hours == (
        day + 2 * HOUR,
        day + HOUR,
    )
    assert day in overdue_hours(connection, jump)


def test_no_detector_settles_later_than_live_detection_looks() -> None:
    assert max(detector.settle for detector in DETECTORS.values()) + HOUR < LATELY
