"""The hourly assets in step with the telemetry: one job, and a schedule that runs it over the stale hours."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import dagster as dg

from peebot_dagster.defs.partitions import HOURS, hour_key
from peebot_dagster.defs.resources import Store
from peebot_dagster.defs.telemetry import telemetry_minute
from peebot_dagster.minutes import PROCESSOR
from peebot_dagster.store import HOUR, contiguous_spans, stale_hours

if TYPE_CHECKING:
    # Dagster's public define_asset_job returns it, yet does not export it.
    from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

JOB_NAME = "hourly_assets_job"

LONGEST_RUN = timedelta(days=3)
"""A failure of a long catch-up then costs three days of it, not the month."""

RUNS_PER_TICK = 4

UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def hourly_job(detector_assets: Sequence[dg.AssetsDefinition]) -> "UnresolvedAssetJobDefinition":
    """telemetry_minute and all detectors in one run: a run costs two seconds before its first line."""
    return dg.define_asset_job(
        JOB_NAME,
        selection=dg.AssetSelection.assets(telemetry_minute, *detector_assets),
        partitions_def=HOURS,
        executor_def=dg.in_process_executor,
        tags={"dagster/max_runtime": 3600},
        description="Recomputes telemetry_minute and the events of all detectors over a range of hours.",
    )


def runs_for(hours: Sequence[datetime]) -> list[tuple[datetime, datetime]]:
    """The stale hours as spans for single runs, newest first; at most three days each, a few at a time."""
    spans: list[tuple[datetime, datetime]] = []
    for start, end in contiguous_spans(hours):
        while end - start > LONGEST_RUN:
            spans.append((end - LONGEST_RUN, end))
            end -= LONGEST_RUN
        spans.append((start, end))
    return spans[:RUNS_PER_TICK]


@dg.schedule(
    name="hourly_assets",
    job_name=JOB_NAME,
    cron_schedule="*/5 * * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Every five minutes: recompute the hours in which telemetry has changed since the last time.",
)
def hourly_schedule(
    context: dg.ScheduleEvaluationContext, store: Store
) -> list[dg.RunRequest] | dg.SkipReason:
    if context.instance.get_runs_count(dg.RunsFilter(job_name=JOB_NAME, statuses=UNFINISHED)):
        return dg.SkipReason("The previous catch-up has not finished.")
    with store.connect() as connection:
        stale = stale_hours(connection, PROCESSOR)
    known = [hour for hour in stale if HOURS.has_partition_key(hour_key(hour))]
    if not known:
        return dg.SkipReason("No hour has changed since it was computed.")
    return [
        dg.RunRequest(
            tags={
                "dagster/asset_partition_range_start": hour_key(start),
                "dagster/asset_partition_range_end": hour_key(end - HOUR),
            }
        )
        for start, end in runs_for(known)
    ]
