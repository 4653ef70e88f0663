"""That Dagster hears of each changed hour, whatever becomes of the tick that has changed it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import dagster as dg
import psycopg
import pytest

from peebot_dagster.defs.live import live_detection_sensors
from peebot_dagster.defs.partitions import hour_key
from peebot_dagster.defs.resources import Store
from peebot_dagster.detectors.detector import DetectedEvent, Detector, Window
from peebot_dagster.unreported import Unreported

HOUR = timedelta(hours=1)


def test_the_hours_that_one_tick_does_not_report_are_left_for_the_next(day: datetime) -> None:
    unreported = Unreported()
    unreported.add("jump", [day, day + 2 * HOUR, day + HOUR])
    unreported.add("other", [day])

    assert unreported.take("jump", 2) == [day + 2 * HOUR, day + HOUR]
    unreported.add("jump", [day + HOUR])
    assert unreported.take("jump", 2) == [day + HOUR, day]
    assert unreported.take("jump", 2) == []


def test_each_hour_that_begins_is_reported_once(day: datetime) -> None:
    unreported = Unreported()
    for hour in (day, day + HOUR, day, day + HOUR):
        unreported.add_if_newer("jump", hour)

    assert unreported.take("jump", 9) == [day + HOUR, day]
    unreported.add_if_newer("jump", day + HOUR)
    assert unreported.take("jump", 9) == []


@dataclass
class StoreGoesAway:
    """The store fails while this detector is at work, once; it finds nothing."""

    of: Detector
    failed: bool = False
    name: str = "unlucky"

    def __getattr__(self, name: str) -> object:
        return getattr(self.of, name)

    def detect(self, window: Window) -> list[DetectedEvent]:
        if self.failed:
            return []
        self.failed = True
        raise psycopg.OperationalError("the server closed the connection")


def test_what_a_tick_has_stored_before_it_failed_is_reported_by_its_twin(
    database_url: str,
    connection: psycopg.Connection,
    instance: dg.DagsterInstance,
    store_readings: Callable[..., None],
    jump: Detector,
    day: datetime,
) -> None:
    store_readings([(day, 5), (day + HOUR / 2, 8)])
    unlucky: Detector = StoreGoesAway(jump)  # type: ignore[assignment]
    first, twin = live_detection_sensors([jump, unlucky], timedelta(0))

    def tick(sensor: dg.SensorDefinition) -> dg.SensorResult:
        resources = {"store": Store(database_url=database_url)}
        with dg.build_sensor_context(instance=instance, resources=resources) as context:
            result = sensor(context)
        assert isinstance(result, dg.SensorResult)
        return result

    with pytest.raises(psycopg.OperationalError):
        tick(first)
    assert connection.execute("SELECT count(*) FROM detected_event").fetchone() == (1,)

    reported = [e for e in tick(twin).asset_events if isinstance(e, dg.AssetMaterialization)]
    told = {e.asset_key: (e.partition, e.metadata["jump"].value) for e in reported}
    assert told[dg.AssetKey("jump_events")] == (hour_key(day), 1)
