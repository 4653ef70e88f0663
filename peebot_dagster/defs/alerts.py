"""The sensor that tells people outside of Dagster what is wrong; it needs no run."""

import os
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from urllib.parse import urlsplit

import dagster as dg

from peebot_dagster.alerts.conditions import Facts, FailedRun, Spool, judge
from peebot_dagster.alerts.destinations import VARIABLE, deliver_all, destinations
from peebot_dagster.alerts.ledger import newest_visit
from peebot_dagster.alerts.telling import Telling, tell
from peebot_dagster.defs.resources import Store
from peebot_dagster.defs.telemetry import telemetry_reading
from peebot_dagster.ingest_metrics import METRICS_PORT, METRICS_VARIABLE, read_depths
from peebot_dagster.store import feed_state

SEND_LIMIT_S = 40.0
"""A tick may take 180 s (DAGSTER_SENSOR_GRPC_TIMEOUT_SECONDS), and looks at the facts before."""

LOOK_BACK = timedelta(hours=1)
"""Before the last tick that went well, as it may have waited for a retry that did not come; before now when
nobody knows of that tick. The store knows what was told."""
LONGEST_LOOK_BACK = timedelta(days=1)
DECIDED_WITHIN = timedelta(minutes=1)
"""Dagster notes whether it will retry a run a moment after it failed."""
RETRIED_WITHIN = timedelta(minutes=10)
"""What is not retried by then never will be (its backfill has ended), or waits for a daemon that is away."""


def look_from(cursor: str | None, now: datetime) -> datetime:
    """Since when (UTC) to look for failed runs; `cursor` is the time of the last tick that went well."""
    try:
        last = now if cursor is None else datetime.fromisoformat(cursor).astimezone(UTC)
    except ValueError:
        last = now
    return max(min(last, now) - LOOK_BACK, now - LONGEST_LOOK_BACK)


def failed_runs(instance: dg.DagsterInstance, since: datetime, now: datetime) -> list[FailedRun]:
    """All runs that failed since then (UTC) and that Dagster will not retry, or should have and has not."""
    records = instance.get_run_records(
        dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE], updated_after=since)
    )
    failed = []
    for record in records:
        run = record.dagster_run
        ended = record.end_time
        at = record.update_timestamp if ended is None else datetime.fromtimestamp(ended, UTC)
        # What failed long ago may have been updated lately.
        if at >= since and not _retry_pending(instance, run.tags, now - at):
            tags = run.tags
            partition = tags.get("dagster/partition") or tags.get("dagster/asset_partition_range_start")
            failed.append(FailedRun(run.run_id, run.job_name, at, tags.get("dagster/backfill"), partition))
    return failed


def _retry_pending(instance: dg.DagsterInstance, tags: Mapping[str, str], ago: timedelta) -> bool:
    """Whether it is retried, so that the retry counts instead, or may yet be."""
    will = tags.get("dagster/will_retry")
    if will is None:
        return instance.run_retries_enabled and ago < DECIDED_WITHIN
    return will == "true" and ("dagster/auto_retry_run_id" in tags or ago < RETRIED_WITHIN)


def spools(environment: Mapping[str, str]) -> list[Spool]:
    """What waits in the spools of the daemons that PEEBOT_ALERT_METRICS names, else of this host's."""
    urls = environment.get(METRICS_VARIABLE, f"http://127.0.0.1:{METRICS_PORT}/metrics").split()
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
        "Tells the destinations of PEEBOT_ALERT_URLS by mail, chat or webhook: a run has failed; the feed is "
        "DOWN for 10 minutes, no visit for 24 h, a spool does not empty for 5 minutes, and when it is over. "
        "A tick fails when a destination took nothing; it is tried again, and the others are told."
    ),
)
def alerts_sensor(context: dg.SensorEvaluationContext, store: Store) -> dg.SkipReason:
    """Look at the facts, and tell what is news."""
    to = destinations(os.environ)
    if not to:
        return dg.SkipReason(f"Nobody is told: {VARIABLE} is not set (docs/monitoring.md).")
    now = datetime.now(UTC)
    failures = failed_runs(context.instance, look_from(context.cursor, now), now)
    waiting_spools = spools(os.environ)
    with store.connect() as connection:
        connection.autocommit = True
        facts = Facts(feed_state(connection, now), newest_visit(connection), waiting_spools, failures)
        telling = tell(
            connection,
            judge(facts, now),
            to,
            partial(deliver_all, limit_s=SEND_LIMIT_S),
            lambda: datetime.now(UTC),
        )
    if telling.failed:
        raise dg.Failure(outcome(telling), allow_retries=False)
    context.update_cursor(now.isoformat())
    return dg.SkipReason(outcome(telling))
