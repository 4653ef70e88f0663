"""The one partitioning: hours of event time (UTC). Minutes would pass Dagster's limit in ten weeks."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import dagster as dg

HOURS = dg.HourlyPartitionsDefinition(
    start_date=os.environ.get("PEEBOT_PARTITIONS_START", "2024-01-01-00:00"),
    timezone="UTC",
    end_offset=1,  # the running hour is a partition too
)

DAYS = dg.BackfillPolicy.multi_run(max_partitions_per_run=24)
"""A backfill is a run for each day, with all assets in it: its start of two seconds hardly counts, its
progress shows, and a failure costs a day."""

FIRST_HOUR, LAST_HOUR = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
"""Dagster's tags of a run over a range of partitions."""


def hour_key(hour: datetime) -> str:
    """The partition key of an hour (UTC)."""
    return hour.astimezone(UTC).strftime(HOURS.fmt)


def hour_of_key(key: str) -> datetime:
    """The hour (UTC) whose partition key it is."""
    return datetime.strptime(key, HOURS.fmt).replace(tzinfo=UTC)


def steps(start: datetime, end: datetime, step: timedelta) -> Iterator[tuple[datetime, datetime]]:
    """[start, end) in pieces of at most `step`, so that no transaction of a backfill holds its lock long."""
    while start < end:
        piece_end = min(start + step, end)
        yield start, piece_end
        start = piece_end
