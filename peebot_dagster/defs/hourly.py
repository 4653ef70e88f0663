"""The hourly assets in step with the telemetry: one job, and a schedule that runs it over the stale hours."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import dagster as dg

from peebot_dagster.defs.detectors import events_key
from peebot_dagster.defs.failures import COUNTS_AS_KILLED_AFTER, Failures, began
from peebot_dagster.defs.partitions import FIRST_HOUR, HOURS, LAST_HOUR, hour_key, steps
from peebot_dagster.defs.resources import Store
from peebot_dagster.defs.telemetry import telemetry_minute
from peebot_dagster.detection import detectors_run_since, overdue_hours
from peebot_dagster.detectors.detector import Detector
from peebot_dagster.minutes import PROCESSOR
from peebot_dagster.store import HOUR, contiguous_spans, hour_of, stale_hours, was_processed

if TYPE_CHECKING:
    # Dagster's public define_asset_job returns it, yet does not export it.
    from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

JOB_NAME = "hourly_assets_job"

LONGEST_RUN = timedelta(days=7)
"""A failure of a long catch-up then costs a week of it, not the year."""

JOINED_OVER = timedelta(hours=12)
"""To compute some hours once too often is cheaper than a run: two seconds before its first line."""

RUNS_PER_TICK = 2

UNHURRIED_EVERY_MINUTES = 5
"""For the running hour, and for what live detection will do by itself or fails at: a run a minute would leave
60 MB a day in Dagster's database."""

LIVE_LOOKS_WITHIN = timedelta(minutes=11)
"""Live detection looks at the newest hour every five minutes; who has not run for so long is not live."""

LIVE_GOES_FIRST = timedelta(minutes=5)
"""Live detection settles an hour within a minute; so long after that it has missed it."""

UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def hourly_job(
    detector_assets: Sequence[dg.AssetsDefinition], left_out: Sequence[dg.AssetCheckSpec] = ()
) -> "UnresolvedAssetJobDefinition":
    """telemetry_minute and all detectors in one run: a run costs two seconds before its first line.

    Checks that a sensor evaluates are `left_out`: as steps of each run they would only cost.
    """
    selection: dg.AssetSelection = dg.AssetSelection.assets(telemetry_minute, *detector_assets)
    if left_out:
        selection -= dg.AssetSelection.checks(*(spec.key for spec in left_out))
    return dg.define_asset_job(
        JOB_NAME,
        selection=selection,
        executor_def=dg.in_process_executor,
        tags={"dagster/max_runtime": 3600},
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


def requests_for(
    minutes: Sequence[datetime],
    overdue: Mapping[dg.AssetKey, Sequence[datetime]],
    with_minutes: Sequence[dg.AssetKey] | None = None,
) -> list[dg.RunRequest]:
    """Runs over the hours (UTC) that telemetry_minute needs, and over those that only detectors need.

    `with_minutes`: the events that are computed with the minutes; all unless given.
    """
    of_minutes = None if with_minutes is None else [telemetry_minute.key, *with_minutes]
    runs = runs_for(minutes)
    covered = {hour for start, end in runs for hour, _ in steps(start, end, HOUR)}
    left = {events: [hour for hour in hours if hour not in covered] for events, hours in overdue.items()}
    return [
        *(_request(start, end, "minutes", of_minutes) for start, end in runs),
        *(
            _request(start, end, " ".join(events.to_user_string() for events in behind), behind)
            for start, end, behind in _shared({events: runs_for(hours) for events, hours in left.items()})
        ),
    ]


def _shared(
    spans: Mapping[dg.AssetKey, Sequence[tuple[datetime, datetime]]],
) -> list[tuple[datetime, datetime, list[dg.AssetKey]]]:
    """The spans of all detectors, each with its own, but those that lie close together as one."""
    shared: list[tuple[datetime, datetime, list[dg.AssetKey]]] = []
    for events, own in spans.items():
        for start, end in own:
            for i, (first, last, behind) in enumerate(shared):
                widest = max(end, last) - min(start, first)
                if widest <= LONGEST_RUN and max(start, first) - min(end, last) <= JOINED_OVER:
                    names = behind if events in behind else [*behind, events]
                    shared[i] = (min(start, first), max(end, last), names)
                    break
            else:
                shared.append((start, end, [events]))
    return shared


def _request(
    start: datetime, end: datetime, what: str, selection: Sequence[dg.AssetKey] | None
) -> dg.RunRequest:
    return dg.RunRequest(
        run_key=f"{hour_key(start)} {what}",
        asset_selection=selection,
        tags={
            FIRST_HOUR: hour_key(start),
            LAST_HOUR: hour_key(end - HOUR),
        },
    )


def hourly_schedule(detectors: Sequence[Detector], loaded_at: datetime) -> dg.ScheduleDefinition:
    """The schedule `hourly_assets` over telemetry_minute and the events of these detectors.

    `loaded_at` (UTC): what failed before that time failed with code that may have been mended since.
    """

    @dg.schedule(
        name="hourly_assets",
        job_name=JOB_NAME,
        cron_schedule="* * * * *",
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=(
            "Recomputes the hours whose telemetry has changed since it was taken into account. "
            "telemetry_minute: finished hours (late data, replays) within a minute, and the events of all "
            "detectors with them; the running one as soon as it has begun and then every five. Detectors: "
            "what live detection has missed or failed at, every five minutes; one that fails in such a run "
            "rests for an hour."
        ),
    )
    def hourly_assets(
        context: dg.ScheduleEvaluationContext, store: Store
    ) -> list[dg.RunRequest] | dg.SkipReason:
        now = context.scheduled_execution_time
        if _catch_up_goes_on(context.instance, now):
            return dg.SkipReason("The previous catch-up has not finished.")
        unhurried = now.minute % UNHURRIED_EVERY_MINUTES == 0
        backfills = Backfills(context.instance)
        failures = Failures(context.instance, JOB_NAME, loaded_at, now)
        with store.connect() as connection:
            stale = _partitions(stale_hours(connection, PROCESSOR))
            begun = was_processed(connection, PROCESSOR, hour_of(now))
            overdue = (
                {
                    events_key(d): failures.others(
                        events_key(d),
                        backfills.others(
                            events_key(d), _partitions(overdue_hours(connection, d, LIVE_GOES_FIRST))
                        ),
                    )
                    for d in detectors
                }
                if unhurried
                else {}
            )
            live = detectors_run_since(connection, now - LIVE_LOOKS_WITHIN)
        # The running hour goes on changing, so a backfill that ends with it does not delay it.
        running = [hour for hour in stale if hour == hour_of(now)]
        over = [hour for hour in stale if hour != hour_of(now)]
        minutes = sorted(running + backfills.others(telemetry_minute.key, over), reverse=True)
        only_running = minutes == [hour_of(now)]
        # The first time at once: until then the UI calls the asset missing.
        if only_running and begun and not unhurried:
            return dg.SkipReason("At most the running hour has to be recomputed; it is every five minutes.")
        # The events of the running hour are live detection's, until it is over.
        able = [d for d in detectors if not failures.rests(events_key(d))]
        computed = [d for d in able if not (only_running and d.name in live)]
        all_of_them = len(able) == len(detectors) and not only_running
        with_minutes = None if all_of_them else [events_key(d) for d in computed]
        return requests_for(minutes, overdue, with_minutes) or dg.SkipReason(
            "A backfill is in progress; what it leaves is computed after it."
            if backfills.held_back
            else "No hour has changed since it was computed."
        )

    return hourly_assets


def _catch_up_goes_on(instance: dg.DagsterInstance, now: datetime) -> bool:
    """Whether a run of the job is under way; one whose process was killed shows as started for an hour."""
    records = instance.get_run_records(dg.RunsFilter(job_name=JOB_NAME, statuses=UNFINISHED))
    return any(
        record.dagster_run.status == dg.DagsterRunStatus.QUEUED
        or now - began(record) < COUNTS_AS_KILLED_AFTER
        for record in records
    )


class Backfills:
    """What the backfills in progress are to compute. The schedule would compute the same a second time."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        going_on = [b for b in instance.get_backfills(limit=10) if b.status.value == "REQUESTED"]
        self._targets = [
            backfill.asset_backfill_data.target_subset.partitions_subsets_by_asset_key
            for backfill in going_on
            if backfill.asset_backfill_data is not None
        ]
        self.held_back = False
        """Whether something was left to them."""

    def others(self, asset: dg.AssetKey, hours: Sequence[datetime]) -> list[datetime]:
        """Those of the asset's hours (UTC) that no backfill is to compute."""
        subsets = [targets[asset] for targets in self._targets if asset in targets]
        others = [hour for hour in hours if not any(hour_key(hour) in subset for subset in subsets)]
        self.held_back = self.held_back or len(others) < len(hours)
        return others


def _partitions(hours: Sequence[datetime]) -> list[datetime]:
    return [hour for hour in hours if HOURS.has_partition_key(hour_key(hour))]
