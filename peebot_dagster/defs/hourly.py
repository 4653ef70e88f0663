"""The hourly assets in step with the telemetry: one job, and a schedule that runs it over the stale hours."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import dagster as dg

from peebot_dagster.defs.labels import QUIET
from peebot_dagster.defs.partitions import HOURS, hour_key
from peebot_dagster.defs.resources import Store
from peebot_dagster.defs.telemetry import telemetry_minute
from peebot_dagster.minutes import PROCESSOR
from peebot_dagster.store import HOUR, contiguous_spans, hour_of, stale_hours

if TYPE_CHECKING:
    # Dagster's public define_asset_job returns it, yet does not export it.
    from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

JOB_NAME = "hourly_assets_job"

LONGEST_RUN = timedelta(days=7)
"""A failure of a long catch-up then costs a week of it, not the year."""

JOINED_OVER = timedelta(hours=12)
"""To compute some hours once too often is cheaper than a run: two seconds before its first line."""

RUNS_PER_TICK = 2

RUNNING_HOUR_EVERY_MINUTES = 5
"""A run a minute would leave 60 MB a day in Dagster's database."""

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
        executor_def=dg.in_process_executor,
        tags={"dagster/max_runtime": 3600},
        config=QUIET,
        description="Recomputes telemetry_minute and the events of all detectors over a range of hours.",
    )


def runs_for(hours: Sequence[datetime]) -> list[tuple[datetime, datetime]]:
    """The stale hours as spans for single runs, the newest first: at most a week each, a few at a time."""
    joined: list[tuple[datetime, datetime]] = []
    for start, end in contiguous_spans(hours):
        if joined and joined[-1][0] - end <= JOINED_OVER:
            joined[-1] = (start, joined[-1][1])
        else:
            joined.append((start, end))
    runs: list[tuple[datetime, datetime]] = []
    for start, end in joined:
        while end - start > LONGEST_RUN:
            runs.append((end - LONGEST_RUN, end))
            end -= LONGEST_RUN
        runs.append((start, end))
    return runs[:RUNS_PER_TICK]


@dg.schedule(
    name="hourly_assets",
    job_name=JOB_NAME,
    cron_schedule="* * * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description=(
        "Recomputes the hours in which telemetry has changed since the last time: "
        "the running hour every five minutes, finished ones (late data, replays) within a minute."
    ),
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
    now = context.scheduled_execution_time
    if known == [hour_of(now)] and now.minute % RUNNING_HOUR_EVERY_MINUTES:
        return dg.SkipReason("Only the running hour has changed; it is recomputed every five minutes.")
    return [
        dg.RunRequest(
            run_key=hour_key(start),
            tags={
                "dagster/asset_partition_range_start": hour_key(start),
                "dagster/asset_partition_range_end": hour_key(end - HOUR),
            },
        )
        for start, end in runs_for(known)
    ]
