from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import dagster as dg
import psycopg
import pytest

from peebot_dagster.defs.live import HOURS_PER_TICK, live_detection_sensor
from peebot_dagster.defs.partitions import hour_key
from peebot_dagster.defs.posts import posts_job
from peebot_dagster.defs.resources import Store
from peebot_dagster.detection import stale_hours
from peebot_dagster.detectors.detector import Detector

StoreReadings = Callable[[Sequence[tuple[datetime, float]]], None]
Tick = Callable[..., dg.SensorResult]

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def tick(database_url: str, instance: dg.DagsterInstance) -> Tick:
    """One evaluation of live_detection as the sensor daemon makes it."""

    def evaluate(*detectors: Detector, cursor: str | None = None) -> dg.SensorResult:
        sensor = live_detection_sensor(detectors)
        context = dg.build_sensor_context(
            instance=instance, cursor=cursor, resources={"store": Store(database_url=database_url)}
        )
        result = sensor(context)
        assert isinstance(result, dg.SensorResult)
        return result

    return evaluate


def materializations(result: dg.SensorResult) -> list[dg.AssetMaterialization]:
    return [event for event in result.asset_events if isinstance(event, dg.AssetMaterialization)]


def skip_reason(result: dg.SensorResult) -> str:
    assert isinstance(result.skip_reason, dg.SkipReason)
    return str(result.skip_reason.skip_message)


def checks(result: dg.SensorResult) -> dict[dg.AssetKey, dg.AssetCheckEvaluation]:
    return {e.asset_key: e for e in result.asset_events if isinstance(e, dg.AssetCheckEvaluation)}


def test_a_tick_stores_the_event_and_reports_the_hour_it_belongs_to(
    connection: psycopg.Connection, store_readings: StoreReadings, tick: Tick, jump: Detector, day: datetime
) -> None:
    store_readings([(day, 5), (day + 30 * MINUTE, 8)])

    result = tick(jump)

    (report,) = materializations(result)
    assert report.asset_key == dg.AssetKey("jump_events")
    assert report.partition == hour_key(day)
    assert report.metadata["jump"].value == 1
    assert connection.execute("SELECT count(*) FROM detected_event").fetchone() == (1,)


def test_a_tick_without_news_does_nothing_and_says_so(
    connection: psycopg.Connection, store_readings: StoreReadings, tick: Tick, jump: Detector, day: datetime
) -> None:
    store_readings([(day, 5), (day + 30 * MINUTE, 8)])
    first = tick(jump)
    (ran_at,) = connection.execute("SELECT last_run_at FROM processor_state").fetchone() or (None,)

    second = tick(jump, cursor=first.cursor)

    assert skip_reason(first) == "Looked at 1 hour up to 00:30:00 UTC; 1 event changed."
    assert skip_reason(second) == "Nothing new."
    assert not second.asset_events
    assert connection.execute("SELECT last_run_at FROM processor_state").fetchone() == (ran_at,)


def test_a_tick_that_looked_at_new_telemetry_in_vain_says_so(
    store_readings: StoreReadings, tick: Tick, jump: Detector, day: datetime
) -> None:
    store_readings([(day, 5), (day + 61 * MINUTE, 5)])

    assert skip_reason(tick(jump)) == "Looked at 2 hours up to 01:01:00 UTC; no event changed."


@pytest.mark.parametrize(
    ("name", "value"), [("PEEBOT_POSTS", "off"), ("PEEBOT_POST_COOLDOWN_MINUTES", "soon")]
)
def test_a_setting_of_the_posts_that_is_not_understood_stops_no_detection_and_is_told_in_each_tick(
    store_readings: StoreReadings,
    tick: Tick,
    jump: Detector,
    day: datetime,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    value: str,
) -> None:
    monkeypatch.setenv(name, value)
    store_readings([(day, 5), (day + 30 * MINUTE, 8)])

    result = tick(jump)

    assert len(materializations(result)) == 1
    assert not result.run_requests
    assert f"Nothing is posted: {name}" in skip_reason(result)
    assert name in skip_reason(tick(jump, cursor=result.cursor))


def test_a_lost_cursor_costs_a_rerun_and_reports_nothing_twice(
    store_readings: StoreReadings, tick: Tick, jump: Detector, day: datetime
) -> None:
    store_readings([(day, 5), (day + 30 * MINUTE, 8)])
    tick(jump)

    assert not tick(jump, cursor=None).asset_events


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
    assert skip_reason(result).startswith("Failed: broken. Looked at 1 hour")
    assert result.cursor is None, "the next tick must try again"
    assert stale_hours(connection, broken.name) == [day]

    assert not tick(broken, jump).asset_events
    repaired = type(jump)(name=broken.name)  # type: ignore[call-arg]
    assert checks(tick(repaired))[dg.AssetKey("broken_events")].passed


def test_after_days_of_replay_the_newest_hours_come_first_and_the_rest_follows_tick_by_tick(
    connection: psycopg.Connection, store_readings: StoreReadings, tick: Tick, jump: Detector, day: datetime
) -> None:
    hours = HOURS_PER_TICK * 2 + 10
    store_readings([(day + i * HOUR + 30 * MINUTE, float(3 * i)) for i in range(hours)])

    first = tick(jump)
    assert first.cursor is None, "the rest would be forgotten until new telemetry comes"
    assert materializations(first)[-1].partition == hour_key(day + (hours - 1) * HOUR)
    ((count,),) = connection.execute("SELECT count(*) FROM detected_event").fetchall()
    assert count == HOURS_PER_TICK
    connection.rollback()

    cursor, ticks = None, 1
    while cursor is None:
        cursor = tick(jump).cursor
        ticks += 1

    assert ticks == 3
    ((count,),) = connection.execute("SELECT count(*) FROM detected_event").fetchall()
    assert count == hours - 1


def insert_event(connection: psycopg.Connection, started_at: datetime, confidence: float = 0.95) -> None:
    connection.execute(
        "INSERT INTO detected_event (event_id, detector, detector_version, event_type, started_at, ended_at,"
        " state, confidence, payload) VALUES (gen_random_uuid(), 'urine_tank', '1', 'toilet_visit', %s, %s,"
        """ 'closed', %s, '{"amount_percent": 4, "amount_ml": 330}')""",
        (started_at, started_at, confidence),
    )
    connection.commit()


def test_a_fresh_visit_asks_for_one_posting_run_and_not_for_a_second_while_that_is_not_done(
    connection: psycopg.Connection, tick: Tick, jump: Detector, instance: dg.DagsterInstance
) -> None:
    assert not tick(jump).run_requests
    insert_event(connection, datetime.now(UTC) - MINUTE)

    assert len(tick(jump).run_requests or []) == 1

    instance.create_run_for_job(
        dg.GraphDefinition(name=posts_job.name).to_job(), status=dg.DagsterRunStatus.STARTED
    )
    assert not tick(jump).run_requests


def test_what_can_only_be_skipped_waits_so_that_a_replay_starts_no_run_by_the_minute(
    connection: psycopg.Connection, tick: Tick, jump: Detector, instance: dg.DagsterInstance
) -> None:
    instance.create_run_for_job(
        dg.GraphDefinition(name=posts_job.name).to_job(), status=dg.DagsterRunStatus.SUCCESS
    )
    insert_event(connection, datetime.now(UTC) - 5 * HOUR)
    assert not tick(jump).run_requests

    insert_event(connection, datetime.now(UTC) - MINUTE)
    assert tick(jump).run_requests


def test_a_posting_run_that_failed_is_not_repeated_at_every_tick(
    connection: psycopg.Connection, tick: Tick, jump: Detector, instance: dg.DagsterInstance
) -> None:
    insert_event(connection, datetime.now(UTC) - MINUTE)
    instance.create_run_for_job(
        dg.GraphDefinition(name=posts_job.name).to_job(), status=dg.DagsterRunStatus.FAILURE
    )

    assert not tick(jump).run_requests
