"""Dagster's Celery launcher, whose workers hold a lease of their run, and which notices a lost worker soon.

Celery itself tells of a worker that was cut off only when the message's time-out of an hour is over.
"""

from __future__ import annotations

import os
from datetime import datetime, timedelta

import dagster as dg
from dagster._core.launcher import CheckRunHealthResult, LaunchRunContext, WorkerStatus
from dagster_celery.launcher import CeleryRunLauncher
from dagster_celery.tags import DAGSTER_CELERY_TASK_ID_TAG

from peebot_dagster.run_lease import is_held
from peebot_dagster.store import connect

PATIENCE = timedelta(seconds=30)
"""How long a message may take from the broker to a worker that is free."""

EARLIER_TASKS = "peebot/earlier_celery_tasks"
"""The tag of a run that was sent again: its earlier tasks, separated by blanks, any of which may have it."""


class LeasedRunLauncher(CeleryRunLauncher):
    """`dagster_celery.launcher.CeleryRunLauncher`, with the same configuration.

    It needs PEEBOT_DATABASE_URL: a run is healthy while a worker holds its lease there.
    """

    @property
    def supports_resume_run(self) -> bool:
        """No: a run that is lost begins anew, as a run of its own."""
        return False

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Whether somebody executes this run, which was STARTED a moment ago.

        A run that ends lets go of its lease after its last event, and run monitoring looks at it once more.
        """
        if self._is_held(run):
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return CheckRunHealthResult(WorkerStatus.FAILED, "the worker that executed it is lost")

    def get_run_worker_debug_info(
        self, run: dg.DagsterRun, include_container_logs: bool | None = True
    ) -> str | None:
        """What the lease says; run monitoring writes it into the run's log. The broker is not asked."""
        held = "a worker holds" if self._is_held(run) else "no worker holds"
        return f"{held} the lease of run {run.run_id}"

    def terminate(self, run_id: str) -> bool:
        """Revoke all tasks that the run has had: whose message came through does not matter then."""
        run = self._instance.get_run_by_id(run_id)
        for task_id in run.tags.get(EARLIER_TASKS, "").split() if run else ():
            self.celery.control.revoke(task_id, terminate=True)
        return super().terminate(run_id)

    def _is_held(self, run: dg.DagsterRun) -> bool:
        with connect(os.environ["PEEBOT_DATABASE_URL"]) as connection:
            return is_held(connection, run.run_id)

    def messages_waiting(self) -> int:
        """How many messages wait in the broker for a worker that is free."""
        queue = self.celery.amqp.queues[self.default_queue]
        with self.celery.connection_for_read() as connection:
            # Declared and not only asked for: without messages Redis knows of no queue.
            declared = queue(connection.default_channel).queue_declare()
            return int(declared.message_count)

    def resend_lost(self, now: datetime) -> list[str]:
        """Send again what a broker or a worker has lost before the run began; the ids of these runs.

        While messages wait, a run may be one of them. A message too many does no harm: see `run_lease`.
        """
        starting = dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTING], updated_before=now - PATIENCE)
        records = self._instance.get_run_records(starting)
        if not records or self.messages_waiting():
            return []
        with connect(os.environ["PEEBOT_DATABASE_URL"]) as connection:
            lost = [r.dagster_run for r in records if not is_held(connection, r.dagster_run.run_id)]
        for run in lost:
            # `launch_run` puts the new task's id in the place of the one before.
            earlier = [run.tags.get(EARLIER_TASKS, ""), run.tags.get(DAGSTER_CELERY_TASK_ID_TAG, "")]
            self._instance.add_run_tags(run.run_id, {EARLIER_TASKS: " ".join(earlier).strip()})
            self.launch_run(LaunchRunContext(dagster_run=run, workspace=None))
        return [run.run_id for run in lost]
