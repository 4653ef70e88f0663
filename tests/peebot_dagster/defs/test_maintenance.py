from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import dagster as dg
import psycopg

from peebot_dagster.defs.maintenance import delete_old_runs, run_retention, store_maintenance
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
