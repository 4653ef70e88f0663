"""The launcher with leases, without a broker."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest
from dagster._core.launcher import LaunchRunContext
from dagster._core.test_utils import create_run_for_test
from dagster_celery.tags import DAGSTER_CELERY_TASK_ID_TAG

from peebot_dagster.leased_runs import LeasedRunLauncher
from peebot_dagster.run_lease import lease


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


@pytest.fixture
def launcher(
    instance: dg.DagsterInstance, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> LeasedRunLauncher:
    monkeypatch.setenv("PEEBOT_DATABASE_URL", database_url)
    made = LeasedRunLauncher("dagster", broker="memory://", backend="cache+memory://")
    made.register_instance(instance)
    return made


def test_what_a_run_is_told_of_its_worker_is_what_the_lease_says(
    instance: dg.DagsterInstance, launcher: LeasedRunLauncher, database_url: str
) -> None:
    run = create_run_for_test(instance)
    with lease(database_url, run.run_id):
        assert launcher.get_run_worker_debug_info(run) == f"a worker holds the lease of run {run.run_id}"
    assert launcher.get_run_worker_debug_info(run) == f"no worker holds the lease of run {run.run_id}"


def test_terminate_revokes_each_task_of_a_run_that_was_sent_again(
    instance: dg.DagsterInstance, launcher: LeasedRunLauncher, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = iter(("second", "third"))

    def launch(context: LaunchRunContext) -> None:
        instance.add_run_tags(context.dagster_run.run_id, {DAGSTER_CELERY_TASK_ID_TAG: next(tasks)})

    revoked: list[str] = []

    def revoke(task_id: str, *_: Any, terminate: bool, **__: Any) -> None:
        assert terminate
        revoked.append(task_id)

    monkeypatch.setattr(launcher, "launch_run", launch)
    monkeypatch.setattr(launcher, "messages_waiting", lambda: 0)
    monkeypatch.setattr(launcher.celery.control, "revoke", revoke)
    run = create_run_for_test(
        instance, status=dg.DagsterRunStatus.STARTING, tags={DAGSTER_CELERY_TASK_ID_TAG: "first"}
    )
    for _ in range(2):
        assert launcher.resend_lost(datetime.now(UTC) + timedelta(hours=1)) == [run.run_id]

    assert launcher.terminate(run.run_id)

    assert sorted(revoked) == ["first", "second", "third"]
