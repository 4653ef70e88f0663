"""A detector that fails, hangs or does not load, among others that run on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import dagster as dg
import psycopg
import pytest

from peebot_dagster.defs.live import live_detection_sensors
from peebot_dagster.defs.resources import Store
from peebot_dagster.detection import stale_hours
from peebot_dagster.detectors.detector import DetectedEvent, Detector, Window
from peebot_dagster.detectors.unloadable import UnloadableDetector
from tests.peebot_dagster.defs.ticks import checks, materializations, skip_reason
from tests.peebot_dagster.defs.visits import insert_event

StoreReadings = Callable[..., None]
Tick = Callable[..., dg.SensorResult]

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)


def test_a_broken_detector_stops_no_other_and_is_reported_once_until_it_recovers(
    connection: psycopg.Connection,
    store_readings: StoreReadings,
    tick: Tick,
    jump: Detector,
    broken: Detector,
    day: datetime,
) -> None:
    store_readings([(day, 5), (day + 30 * MINUTE, 8)])

    result = tick(broken, jump)

    assert len(materializations(result)) == 1
    check = checks(result)[dg.AssetKey("broken_events")]
    assert checks(result)[dg.AssetKey("jump_events")].passed
    assert not check.passed
    assert check.description == "ZeroDivisionError: by design"
    assert skip_reason(result).startswith("Failed: broken: ZeroDivisionError: by design. Looked at 1 hour")
    assert stale_hours(connection, broken.name) == [day]

    assert not tick(broken, jump).asset_events
    repaired = type(jump)(name=broken.name)  # type: ignore[call-arg]
    assert checks(tick(repaired))[dg.AssetKey("broken_events")].passed


def test_a_tick_that_asks_for_a_run_says_in_its_log_why_a_detector_failed(
    connection: psycopg.Connection,
    store_readings: StoreReadings,
    tick: Tick,
    broken: Detector,
    day: datetime,
    capfd: pytest.CaptureFixture[str],
) -> None:
    store_readings([(day, 5)])
    insert_event(connection, datetime.now(UTC) - MINUTE)

    assert tick(broken).run_requests
    assert "Failed: broken: ZeroDivisionError: by design." in capfd.readouterr().err


def test_a_detector_that_does_not_load_retracts_nothing_and_says_why(
    connection: psycopg.Connection, store_readings: StoreReadings, tick: Tick, jump: Detector, day: datetime
) -> None:
    store_readings([(day, 5), (day + 30 * MINUTE, 8)])
    tick(jump)
    stand_in = UnloadableDetector(jump.name, "no module named jump")

    check = checks(tick(stand_in, late=MINUTE))[dg.AssetKey("jump_events")]

    assert (check.passed, check.description) == (False, "ImportError: no module named jump")
    rows = connection.execute("SELECT state FROM detected_event").fetchall()
    assert rows == [("open",)]


def test_a_detector_that_never_returns_is_left_alone_and_told_of_while_the_others_run_on(
    connection: psycopg.Connection,
    database_url: str,
    instance: dg.DagsterInstance,
    store_readings: StoreReadings,
    jump: Detector,
    day: datetime,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # So soon does the server end the session of a watch that hangs.
    monkeypatch.setattr("peebot_dagster.watch.LONGEST", timedelta(seconds=2))
    begun, released = threading.Event(), threading.Event()

    class Hanging(type(jump)):  # type: ignore[misc]
        def detect(self, window: Window) -> list[DetectedEvent]:
            begun.set()
            released.wait()
            return []

    store_readings([(day, 5), (day + 30 * MINUTE, 8)])
    sensor, twin = live_detection_sensors([Hanging(name="hanging"), jump], timedelta(0))

    def tick(sensor: dg.SensorDefinition) -> dg.SensorResult:
        context = dg.build_sensor_context(instance, resources={"store": Store(database_url=database_url)})
        result = sensor(context)
        assert isinstance(result, dg.SensorResult)
        return result

    with ThreadPoolExecutor(2) as threads:
        try:
            threads.submit(tick, sensor)
            assert begun.wait(timeout=60)
            result = threads.submit(tick, twin).result(timeout=60)
        finally:
            released.set()

    check = checks(result)[dg.AssetKey("hanging_events")]
    assert not check.passed
    assert (check.description or "").endswith("UTC has not returned")
    assert connection.execute("SELECT count(*) FROM detected_event").fetchone() == (1,), "the other has run"
