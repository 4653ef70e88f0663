"""Warm workers for Dagster's runs: `celery -A peebot_dagster.celery_worker worker -Q dagster -c 2`.

They need DAGSTER_HOME, PEEBOT_DATABASE_URL and PEEBOT_CELERY_BROKER, and a restart when the code changes.
"""

from __future__ import annotations

import os
from typing import Any

import dagster as dg
from celery import Task  # type: ignore[import-untyped]
from dagster._grpc.types import ExecuteRunArgs
from dagster._serdes import unpack_value
from dagster_celery.make_app import make_app
from dagster_celery.tasks import create_execute_job_task

# Before the workers are forked: a run has nothing left to import or to resolve.
import peebot_dagster.preloaded  # noqa: F401
from peebot_dagster.run_lease import lease

_BROKER = os.environ["PEEBOT_CELERY_BROKER"]

app = make_app(
    {
        "broker": _BROKER,
        "backend": _BROKER,
        "config_source": {
            # A run waits in the broker for whoever is free first, not at a worker that may be cut off.
            "worker_disable_prefetch": True,
            "worker_prefetch_multiplier": 1,
            "broker_connection_retry_on_startup": True,
            # What a worker has taken and not begun goes to another. One that has heard nothing asks anew.
            "broker_transport_options": {
                "visibility_timeout": 60,
                "socket_timeout": 20,
                "socket_connect_timeout": 10,
                "socket_keepalive": True,
                "health_check_interval": 10,
            },
        },
        "task_default_queue": "dagster",
    }
)


class OnceOnly(Task):  # type: ignore[misc]  # Celery has no types
    """Executes a run that nobody else executes and that has not begun: a broker may deliver it twice."""

    def __call__(self, execute_job_args_packed: Any) -> int:
        """As Dagster's task."""
        run_id = unpack_value(execute_job_args_packed, as_type=ExecuteRunArgs).run_id
        with lease(os.environ["PEEBOT_DATABASE_URL"], run_id) as is_mine:
            if not is_mine or not _is_starting(run_id):
                return 0
            return int(self.run(execute_job_args_packed))


def _is_starting(run_id: str) -> bool:
    with dg.DagsterInstance.get() as instance:
        run = instance.get_run_by_id(run_id)
        return run is not None and run.status == dg.DagsterRunStatus.STARTING


execute_job = create_execute_job_task(app, base=OnceOnly)  # type: ignore[arg-type]  # said too narrowly there
