"""Warm workers for Dagster's runs: `celery -A peebot_dagster.celery_worker worker -Q dagster -c 2`.

They need DAGSTER_HOME, PEEBOT_DATABASE_URL and PEEBOT_CELERY_BROKER, and a restart when the code changes.
"""

import os

from dagster_celery.make_app import make_app
from dagster_celery.tasks import create_execute_job_task, create_resume_job_task

# Before the workers are forked: a run has nothing left to import or to resolve.
import peebot_dagster.preloaded  # noqa: F401

_BROKER = os.environ["PEEBOT_CELERY_BROKER"]

app = make_app(
    {
        "broker": _BROKER,
        "backend": _BROKER,
        "config_source": {"worker_prefetch_multiplier": 1, "broker_connection_retry_on_startup": True},
        "task_default_queue": "dagster",
    }
)
execute_job = create_execute_job_task(app)
resume_job = create_resume_job_task(app)
