"""Housekeeping: what is old in the store, and in Dagster's own database, which nothing else prunes."""

from datetime import UTC, datetime, timedelta

import dagster as dg

from peebot_dagster.defs.event_retention import delete_old_runless_events
from peebot_dagster.defs.partitions import HOURS
from peebot_dagster.defs.resources import Store
from peebot_dagster.housekeeping import maintain_store, order_chunks

FINISHED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]

BATCH = 200

ORDERED_DAYS_PER_NIGHT = 3
"""One is due each night. The first after an upgrade would find a month, and live detection waits then."""


class Retention(dg.Config):
    """How long a finished run with its event log is kept."""

    days: int = 14


class RunlessRetention(dg.Config):
    """How long an event that belongs to no run is kept."""

    days: int = 7


def delete_old_runs(instance: dg.DagsterInstance, before: datetime) -> int:
    """Delete the finished runs created before `before` (UTC) with their event logs; how many it were."""
    deleted = 0
    while True:
        records = instance.get_run_records(
            dg.RunsFilter(statuses=FINISHED, created_before=before), limit=BATCH, ascending=True
        )
        for record in records:
            instance.delete_run(record.dagster_run.run_id)
        deleted += len(records)
        if len(records) < BATCH:
            return deleted


def keep_partitions(instance: dg.DagsterInstance) -> None:
    """Have Dagster keep which hours are there, which else only a UI does that may write and is looked at."""
    # Private, so imported here: a Dagster without it fails this job alone.
    from dagster._core.storage.partition_status_cache import get_and_update_asset_status_cache_value

    for record in instance.get_asset_records():
        last = record.asset_entry.last_materialization
        if last is not None and last.get_dagster_event().partition is not None:
            get_and_update_asset_status_cache_value(instance, record.asset_entry.asset_key, HOURS)


@dg.op
def delete_runs(context: dg.OpExecutionContext, config: Retention) -> None:
    """Delete finished runs older than `days` through Dagster's own call, which takes their logs along.

    The materialisations of such a run go with it; events, posts and telemetry are not Dagster's and stay.
    """
    # Without their materializations it could not be told any more: if this fails, no run is deleted. That can
    # be made up for, and hours that are shown as missing cannot.
    keep_partitions(context.instance)
    before = datetime.now(UTC) - timedelta(days=config.days)
    deleted = delete_old_runs(context.instance, before)
    context.log.info(f"{deleted} runs from before {before:%Y-%m-%d %H:%M} UTC deleted")
    last_day = dg.RunsFilter(created_after=datetime.now(UTC) - timedelta(days=1))
    context.add_output_metadata(
        {
            "deleted_runs": deleted,
            "runs_of_the_last_day": context.instance.get_runs_count(last_day),
        }
    )


@dg.op
def delete_runless_events(context: dg.OpExecutionContext, config: RunlessRetention) -> None:
    """Delete what sensors have reported without a run more than `days` ago, but for the latest of each."""
    before = datetime.now(UTC) - timedelta(days=config.days)
    deleted = delete_old_runless_events(context.instance, before)
    context.log.info(f"{deleted} events of no run from before {before:%Y-%m-%d %H:%M} UTC deleted")
    context.add_output_metadata({"deleted_runless_events": deleted})


@dg.job(executor_def=dg.in_process_executor, tags={"dagster/max_runtime": 1800})
def run_retention() -> None:
    """Delete Dagster's finished runs with their event logs after 14 days, events of no run after 7.

    A run leaves 30 to 45 kB, and an hourly catch-up every five minutes makes 288 runs a day; the feed's state
    is told each minute without a run. Ticks are pruned by the `retention` block of dagster.yaml: those that
    had nothing to tell after a day, the others after 14.
    """
    # Each knows something of Dagster's own: should one fail, the other goes on.
    delete_runs()
    delete_runless_events()


run_retention_schedule = dg.ScheduleDefinition(
    name="run_retention_daily",
    job=run_retention,
    cron_schedule="17 3 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Each night: delete Dagster's runs after 14 days, and events of no run after 7.",
)


# First, as what is dropped need not be ordered; should it fail, ordering goes on all the same.
@dg.op(tags={"dagster/priority": "1"}, retry_policy=dg.RetryPolicy(max_retries=2, delay=60))
def keep_store(context: dg.OpExecutionContext, store: Store) -> None:
    """Make the chunks of the next days ahead, and drop what is older than the store's settings say."""
    with store.connect() as connection:
        done = maintain_store(connection)
    days, weeks = done.reading_chunks_dropped, done.minute_chunks_dropped
    rejections = done.rejections_dropped
    context.log.info(
        f"readings of {days} days, minutes of {weeks} weeks and {rejections} rejected updates dropped"
    )
    context.add_output_metadata(
        {
            "dropped_days_of_readings": days,
            "dropped_weeks_of_minutes": weeks,
            "dropped_rejected_updates": rejections,
        }
    )


@dg.op
def order_store(context: dg.OpExecutionContext, store: Store) -> None:
    """Put the days of readings that are over in the order in which they are read, each once.

    A few each night, the newest first; a day that somebody uses just then is left for the next night, too.
    """
    with store.connect() as connection:
        done = order_chunks(connection, at_most=ORDERED_DAYS_PER_NIGHT)
    context.log.info(f"{len(done.ordered)} days of readings put in order")
    for day, reason in done.left.items():
        context.log.warning(f"the readings of {day:%Y-%m-%d} are left as they are until next night: {reason}")
    context.add_output_metadata(
        {"days_put_in_order": len(done.ordered), "days_left_for_the_next_night": len(done.left)}
    )


@dg.job(executor_def=dg.in_process_executor, tags={"dagster/max_runtime": 3600})
def store_maintenance() -> None:
    """Keep the store in the bounds of its settings (`./peebot retention`): readings 30 days, minutes 2 years.

    Hours, days, events and posts are kept for ever. Then the readings of days that are over are put in the
    order in which they are read. On TimescaleDB's Community edition a job of its own drops what is old each
    hour, too; to do it twice does no harm.
    """
    keep_store()
    order_store()


store_maintenance_schedule = dg.ScheduleDefinition(
    name="store_maintenance_daily",
    job=store_maintenance,
    cron_schedule="47 2 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description=(
        "Each night: make the next days' chunks, drop what is too old, put in order what is read most."
    ),
)
