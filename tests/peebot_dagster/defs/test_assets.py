from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import dagster as dg
import psycopg
import pytest

from peebot_dagster.defs.detectors import RAN_WITHOUT_ERROR, detector_asset
from peebot_dagster.defs.partitions import hour_key
from peebot_dagster.defs.resources import Store
from peebot_dagster.defs.telemetry import telemetry_minute
from peebot_dagster.detectors.detector import DetectedEvent, Detector, Window
from peebot_dagster.heard import CHANNELS_HEARD

StoreReadings = Callable[[Sequence[tuple[datetime, float]]], None]
SayLive = Callable[[datetime, datetime], None]

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
EVENTS = dg.AssetKey("jump_events")


@pytest.fixture
def one_day(store_readings: StoreReadings, live_link: SayLive, day: datetime) -> None:
    """Jumps at 00:30 and 01:30, nothing in hour 2, all of it live."""
    store_readings([(day, 5), (day + 30 * MINUTE, 8), (day + 90 * MINUTE, 12), (day + 3 * HOUR, 12)])
    live_link(day, day + 4 * HOUR)


def materialize_range(
    assets: Sequence[Any], start: datetime, end: datetime, database_url: str, instance: dg.DagsterInstance
) -> dg.ExecuteInProcessResult:
    return dg.materialize(
        assets,
        instance=instance,
        resources={"store": Store(database_url=database_url)},
        tags={
            "dagster/asset_partition_range_start": hour_key(start),
            "dagster/asset_partition_range_end": hour_key(end - HOUR),
        },
        raise_on_error=False,
    )


def metadata_of(instance: dg.DagsterInstance, key: dg.AssetKey, hour: datetime) -> dict[str, Any]:
    (record,) = instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=key, asset_partitions=[hour_key(hour)]), limit=1
    ).records
    assert record.asset_materialization is not None
    return {name: value.value for name, value in record.asset_materialization.metadata.items()}


@pytest.mark.usefixtures("one_day")
def test_one_partition_holds_the_minutes_and_events_of_its_hour(
    database_url: str,
    connection: psycopg.Connection,
    instance: dg.DagsterInstance,
    jump: Detector,
    day: datetime,
) -> None:
    result = dg.materialize(
        [telemetry_minute, detector_asset(jump)],
        partition_key=hour_key(day),
        instance=instance,
        resources={"store": Store(database_url=database_url)},
    )

    assert result.success
    minutes = metadata_of(instance, telemetry_minute.key, day)
    assert minutes["dagster/row_count"] == 60
    assert minutes["live_minutes"] == 60
    assert minutes["readings"] == 2
    events = metadata_of(instance, EVENTS, day)
    assert events["jump"] == 1
    assert events["signal_coverage"] == 1.0
    (row,) = (
        events["latest_events"].records
        if hasattr(events["latest_events"], "records")
        else events["latest_events"]
    )
    assert row.data["facts"] == "amount_percent 3.0"
    assert connection.execute("SELECT count(*) FROM telemetry_minute").fetchone() == (60,)


@pytest.mark.usefixtures("one_day")
def test_a_range_is_one_run_and_each_hour_has_its_own_numbers(
    database_url: str, postgres_instance: dg.DagsterInstance, jump: Detector, day: datetime
) -> None:
    result = materialize_range(
        [telemetry_minute, detector_asset(jump)], day, day + 3 * HOUR, database_url, postgres_instance
    )

    assert result.success
    assert [metadata_of(postgres_instance, EVENTS, day + i * HOUR)["jump"] for i in range(3)] == [1, 1, 0]
    assert [
        metadata_of(postgres_instance, telemetry_minute.key, day + i * HOUR)["readings"] for i in range(3)
    ] == [2, 1, 0]
    assert len(postgres_instance.get_runs()) == 1
    for name in (RAN_WITHOUT_ERROR, CHANNELS_HEARD):
        summary = postgres_instance.get_latest_asset_check_evaluation_record(dg.AssetCheckKey(EVENTS, name))
        assert summary is not None
        assert summary.status.value == "SUCCEEDED"


@pytest.mark.usefixtures("one_day")
def test_a_detector_that_fails_stops_no_other_and_says_why_in_the_store(
    database_url: str,
    connection: psycopg.Connection,
    instance: dg.DagsterInstance,
    jump: Detector,
    broken: Detector,
    day: datetime,
) -> None:
    result = dg.materialize(
        [detector_asset(broken), detector_asset(jump)],
        partition_key=hour_key(day),
        instance=instance,
        resources={"store": Store(database_url=database_url)},
        raise_on_error=False,
    )

    assert not result.success
    assert metadata_of(instance, EVENTS, day)["jump"] == 1
    states = dict(connection.execute("SELECT detector, last_error FROM processor_state").fetchall())
    assert states == {"jump": None, "broken": "ZeroDivisionError: by design"}
    record = instance.get_latest_asset_check_evaluation_record(
        dg.AssetCheckKey(dg.AssetKey("broken_events"), RAN_WITHOUT_ERROR)
    )
    assert record is not None
    assert record.status.value == "FAILED"


def test_a_day_that_fails_keeps_none_after_it_from_being_computed(
    database_url: str,
    connection: psycopg.Connection,
    store_readings: Callable[..., None],
    postgres_instance: dg.DagsterInstance,
    jump: Detector,
    day: datetime,
) -> None:
    class FailsAtFirst(type(jump)):  # type: ignore[misc]
        def detect(self, window: Window) -> list[DetectedEvent]:
            if window.start < day:
                raise ValueError("of a day that it does not understand")
            return super().detect(window)  # type: ignore[no-any-return]

    store_readings([(day + i * HOUR, 3.0 * i) for i in range(72)])

    result = materialize_range(
        [telemetry_minute, detector_asset(FailsAtFirst())],
        day,
        day + 72 * HOUR,
        database_url,
        postgres_instance,
    )

    assert not result.success
    days = connection.execute("SELECT DISTINCT started_at::date FROM detected_event ORDER BY 1").fetchall()
    assert len(days) == 2
    assert connection.execute(
        "SELECT last_error FROM processor_state WHERE detector = 'jump'"
    ).fetchone() == ("ValueError: of a day that it does not understand",)


@pytest.mark.usefixtures("one_day")
def test_what_a_run_tells_is_in_the_ui_and_its_hundred_events_are_not_on_the_console_too(
    database_url: str,
    postgres_instance: dg.DagsterInstance,
    jump: Detector,
    day: datetime,
    capfd: pytest.CaptureFixture[str],
) -> None:
    result = materialize_range(
        [telemetry_minute, detector_asset(jump)], day, day + 3 * HOUR, database_url, postgres_instance
    )

    told = [record.event_log_entry for record in postgres_instance.get_records_for_run(result.run_id).records]
    assert len(told) > 20
    assert [entry for entry in told if "2 events from" in entry.user_message]
    console = capfd.readouterr().err.splitlines()
    assert 0 < len([line for line in console if " - dagster - " in line]) <= 3
