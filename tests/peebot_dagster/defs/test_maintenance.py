from __future__ import annotations

from datetime import UTC, datetime, timedelta

import dagster as dg

from peebot_dagster.defs.maintenance import delete_old_runs, run_retention


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
