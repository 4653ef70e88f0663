from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import dagster as dg
import psycopg
import pytest
from dagster._core.storage import partition_status_cache
from dagster._core.storage.partition_status_cache import AssetPartitionStatus

from peebot_dagster.defs import maintenance
from peebot_dagster.defs.event_retention import delete_old_runless_events
from peebot_dagster.defs.maintenance import delete_old_runs, keep_store, run_retention, store_maintenance
from peebot_dagster.defs.partitions import HOURS
from peebot_dagster.defs.resources import Store


@dg.op
def nothing() -> None:
    pass


@dg.job
def any_job() -> None:
    nothing()


def test_old_runs_go_with_their_event_logs_and_a_run_that_is_not_done_stays(
    postgres_instance: dg.DagsterInstance,
) -> None:
    finished = any_job.execute_in_process(instance=postgres_instance).run_id
    running = postgres_instance.create_run_for_job(any_job, status=dg.DagsterRunStatus.STARTED).run_id
    tomorrow = datetime.now(UTC) + timedelta(days=1)

    assert delete_old_runs(postgres_instance, tomorrow - timedelta(days=2)) == 0
    assert delete_old_runs(postgres_instance, tomorrow) == 1

    assert [run.run_id for run in postgres_instance.get_runs()] == [running]
    assert postgres_instance.all_logs(finished) == []


def test_the_job_keeps_the_runs_of_the_last_fortnight(instance: dg.DagsterInstance) -> None:
    any_job.execute_in_process(instance=instance)

    result = run_retention.execute_in_process(instance=instance)

    assert result.success
    assert len(instance.get_runs()) == 2


@dg.op
def an_hour() -> None:
    context = dg.OpExecutionContext.get()
    context.log_event(dg.AssetMaterialization("hours", partition="2025-03-01-00:00"))
    context.log_event(dg.AssetMaterialization("something"))


@dg.job
def hourly_job() -> None:
    an_hour()


def test_an_hour_is_still_known_to_be_there_when_the_run_that_made_it_is_gone(
    postgres_instance: dg.DagsterInstance,
) -> None:
    hours = dg.AssetKey("hours")
    hourly_job.execute_in_process(instance=postgres_instance)

    days = {"ops": {"delete_runs": {"config": {"days": -1}}}}
    assert run_retention.execute_in_process(instance=postgres_instance, run_config=days).success

    assert not postgres_instance.get_materialized_partitions(hours)
    keys = ["2025-03-01-00:00", "2025-03-01-01:00"]
    known = postgres_instance.get_status_by_partition(hours, keys, HOURS)
    assert known is not None
    assert known[keys[0]] == AssetPartitionStatus.MATERIALIZED
    assert known[keys[1]] is None


def test_a_dagster_that_cannot_keep_the_hours_fails_the_job_alone_and_no_run_goes(
    postgres_instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(partition_status_cache, "get_and_update_asset_status_cache_value")
    hourly_job.execute_in_process(instance=postgres_instance)
    postgres_instance.report_runless_asset_event(dg.AssetMaterialization("feed"))
    postgres_instance.report_runless_asset_event(dg.AssetMaterialization("feed"))

    days = {"config": {"days": -1}}
    result = run_retention.execute_in_process(
        instance=postgres_instance,
        run_config={"ops": {"delete_runs": days, "delete_runless_events": days}},
        raise_on_error=False,
    )

    assert not result.success
    assert "get_and_update_asset_status_cache_value" in str(result.failure_data_for_node("delete_runs"))
    assert len(postgres_instance.get_runs()) == 2
    assert postgres_instance.get_materialized_partitions(dg.AssetKey("hours"))
    feed = postgres_instance.fetch_materializations(dg.AssetKey("feed"), limit=9).records
    assert len(feed) == 1, "what belongs to no run goes all the same"


def test_old_events_of_no_run_go_but_for_the_latest_of_each_asset_and_check_and_each_partition(
    postgres_instance: dg.DagsterInstance,
) -> None:
    feed, events = dg.AssetKey("feed"), dg.AssetKey("events")

    def check(name: str) -> dg.AssetCheckEvaluation:
        return dg.AssetCheckEvaluation(asset_key=feed, check_name=name, passed=True)

    for hour in range(3):
        for told in (
            dg.AssetMaterialization(feed),
            check("is_live"),
            check("few_rejected"),
            dg.AssetMaterialization(events, partition=f"2025-03-01-0{hour}:00"),
            dg.AssetMaterialization(events, partition=f"2025-03-01-0{hour}:00", metadata={"jump": 2}),
        ):
            postgres_instance.report_runless_asset_event(told)
    of_a_run = any_job.execute_in_process(instance=postgres_instance).run_id
    logged = len(postgres_instance.all_logs(of_a_run))
    now = datetime.now(UTC)

    assert delete_old_runless_events(postgres_instance, now - timedelta(hours=1)) == 0
    assert delete_old_runless_events(postgres_instance, now + timedelta(hours=1)) == 6 + 3

    assert len(postgres_instance.fetch_materializations(feed, limit=9).records) == 1
    assert len(postgres_instance.get_materialized_partitions(events)) == 3
    kept = [
        r.asset_materialization for r in postgres_instance.fetch_materializations(events, limit=9).records
    ]
    assert [told.metadata["jump"].value for told in kept if told is not None] == [2, 2, 2]
    checks = [dg.AssetCheckKey(feed, name) for name in ("is_live", "few_rejected")]
    latest = postgres_instance.event_log_storage.get_latest_asset_check_execution_by_key(checks)
    assert latest.keys() == set(checks)
    assert all(record.event is not None for record in latest.values())
    assert len(postgres_instance.all_logs(of_a_run)) == logged


def test_the_nightly_job_drops_old_readings_orders_the_rest_and_makes_the_chunks_of_the_next_days(
    connection: psycopg.Connection,
    login_as: Callable[[str], str],
    store_readings: Callable[[list[tuple[datetime, float]]], None],
    instance: dg.DagsterInstance,
) -> None:
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    store_readings([(today - timedelta(days=31), 1.0), (today - timedelta(days=30), 2.0)])
    connection.execute("UPDATE telemetry_revision SET updated_at = updated_at - interval '2 days'")
    connection.commit()

    result = store_maintenance.execute_in_process(
        instance=instance, resources={"store": Store(database_url=login_as("peebot_dagster"))}
    )

    assert result.success
    days = connection.execute("SELECT starts_at FROM chunks_of('telemetry_reading')").fetchall()
    ahead = [(today + timedelta(days=days),) for days in (0, 1, 2)]
    assert days == [(today - timedelta(days=30),), *ahead]
    in_order = connection.execute("SELECT starts_at FROM ordered_chunk").fetchall()
    assert in_order == [(today - timedelta(days=30),)]


def test_what_keeps_old_readings_from_being_dropped_is_tried_again_and_keeps_no_day_from_being_ordered(
    connection: psycopg.Connection,
    database_url: str,
    store_readings: Callable[[list[tuple[datetime, float]]], None],
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    days = [datetime(2025, 3, day, tzinfo=UTC) for day in range(1, 6)]
    store_readings([(day, 1.0) for day in days])
    connection.execute("UPDATE telemetry_revision SET updated_at = updated_at - interval '2 days'")
    connection.commit()

    def fail(connection: psycopg.Connection) -> None:
        raise dg.Failure("by design", allow_retries=False)

    monkeypatch.setattr(maintenance, "maintain_store", fail)

    result = store_maintenance.execute_in_process(
        instance=instance, resources={"store": Store(database_url=database_url)}, raise_on_error=False
    )

    assert not result.success
    in_order = connection.execute("SELECT starts_at FROM ordered_chunk ORDER BY 1").fetchall()
    assert in_order == [(day,) for day in days[-3:]], "the newest, and no more than a few in one night"
    assert keep_store.retry_policy is not None
    assert keep_store.retry_policy.max_retries
