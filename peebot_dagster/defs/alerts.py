"""The sensor that tells people outside of Dagster what is wrong; it needs no run."""

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from urllib.parse import urlsplit

import dagster as dg

from peebot_dagster.alerts.conditions import FAILURE_COUNTS_FOR, Facts, JobEnd, Spool, judge
from peebot_dagster.alerts.destinations import VARIABLE, deliver_all, destinations
from peebot_dagster.alerts.ledger import newest_visit
from peebot_dagster.alerts.telling import Telling, tell
from peebot_dagster.defs.resources import Store
from peebot_dagster.defs.telemetry import telemetry_reading
from peebot_dagster.ingest_metrics import METRICS_VARIABLE, read_depths
from peebot_dagster.store import feed_state

METRICS_DEFAULT = "http://127.0.0.1:9100/metrics"
SEND_LIMIT_S = 40.0
"""A tick may take 60 s."""

_FINISHED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE]
_RECENT = 500
_LOOK_BACK = 10


def job_ends(instance: dg.DagsterInstance, now: datetime) -> list[JobEnd]:
    """How the newest run of each job ended of which one failed lately; one that is retried is no end."""
    failed = instance.get_run_records(
        dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE], updated_after=now - FAILURE_COUNTS_FOR),
        limit=_RECENT,
    )
    ends = []
    for job in sorted({record.dagster_run.job_name for record in failed}):
        newest = instance.get_run_records(dg.RunsFilter(job_name=job, statuses=_FINISHED), limit=_LOOK_BACK)
        for record in newest:
            run = record.dagster_run
            if run.is_failure and run.tags.get("dagster/will_retry") == "true":
                continue
            ended = now if record.end_time is None else datetime.fromtimestamp(record.end_time, UTC)
            ends.append(JobEnd(job, run.run_id, run.is_failure, ended))
            break
    return ends


def spools(environment: Mapping[str, str]) -> list[Spool]:
    """What waits in the spools of the daemons that PEEBOT_ALERT_METRICS names, else of this host's."""
    urls = environment.get(METRICS_VARIABLE, METRICS_DEFAULT).split()
    return [Spool(urlsplit(url).netloc.rpartition("@")[2], read_depths(url).spool_readings) for url in urls]


def outcome(telling: Telling) -> str:
    """The telling in a line; of the failures as well."""
    parts = [f"{name} was told: {title}" for name, title in telling.told.items()]
    parts += [f"{name} {why}" for name, why in telling.failed.items()]
    parts += [f"{name} {why}, and will be tried again" for name, why in telling.waiting.items()]
    return "; ".join(parts) or "Nothing new to tell."


@dg.sensor(
    name="alerts",
    asset_selection=[telemetry_reading.key],
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        "Tells the destinations of PEEBOT_ALERT_URLS by mail, chat or webhook: a run has failed, the feed is "
        "DOWN for 10 minutes, no visit for 24 h, a spool does not empty for 5 minutes; and when it is over. "
        "A tick fails when a destination took nothing; it is tried again, and the others are told."
    ),
)
def alerts_sensor(context: dg.SensorEvaluationContext, store: Store) -> dg.SkipReason:
    """Look at the facts, and tell what is news."""
    to = destinations(os.environ)
    if not to:
        return dg.SkipReason(f"Nobody is told: {VARIABLE} is not set (docs/monitoring.md).")
    now = datetime.now(UTC)
    waiting_spools, ends = spools(os.environ), job_ends(context.instance, now)
    with store.connect() as connection:
        connection.autocommit = True
        facts = Facts(feed_state(connection, now), newest_visit(connection), waiting_spools, ends)
        telling = tell(
            connection,
            judge(facts, now),
            to,
            partial(deliver_all, limit_s=SEND_LIMIT_S),
            lambda: datetime.now(UTC),
        )
    if telling.failed:
        raise dg.Failure(outcome(telling), allow_retries=False)
    return dg.SkipReason(outcome(telling))
