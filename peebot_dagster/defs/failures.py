"""Detectors that failed in a catch-up run. To ask for the same at once again would only fail again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import dagster as dg

from peebot_dagster.defs.partitions import FIRST_HOUR, LAST_HOUR, hour_of_key
from peebot_dagster.store import HOUR

RESTS = timedelta(hours=1)
"""A detector that has failed is asked for nothing more for so long ..."""

FAILED_HOURS_REST = timedelta(days=1)
"""... and the hours that it failed over wait for longer: what is older has its turn before them."""

COUNTS_AS_KILLED_AFTER = timedelta(minutes=10)
"""Of a started run. Few catch-ups take longer, and to compute what such a one computes, too, does no harm."""

_MOST_RUNS = 100
"""That are looked through: in a day a detector fails in 24."""


@dataclass(frozen=True)
class _Failure:
    step: str
    start: datetime
    end: datetime
    at: datetime


class Failures:
    """What failed in the runs of a job since `since`, seen at `now` (UTC)."""

    def __init__(self, instance: dg.DagsterInstance, job: str, since: datetime, now: datetime) -> None:
        failed = dg.RunsFilter(
            job_name=job,
            statuses=[dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.STARTED],
            created_after=max(since, now - FAILED_HOURS_REST),
        )
        self._now = now
        self._failures = [
            failure
            for record in instance.get_run_records(failed, limit=_MOST_RUNS)
            for failure in _failures(instance, record, now)
        ]

    def rests(self, events: dg.AssetKey) -> bool:
        """Whether the detector of these events has failed lately."""
        return any(self._now - failure.at < RESTS for failure in self._of(events))

    def others(self, events: dg.AssetKey, hours: Sequence[datetime]) -> list[datetime]:
        """Those hours (UTC) of the detector's events that may be asked for."""
        if self.rests(events):
            return []
        failures = self._of(events)
        return [hour for hour in hours if not any(f.start <= hour < f.end for f in failures)]

    def _of(self, events: dg.AssetKey) -> list[_Failure]:
        return [failure for failure in self._failures if failure.step == events.to_python_identifier()]


def began(record: dg.RunRecord) -> datetime:
    """When the run started, or was asked for (UTC)."""
    return record.create_timestamp if record.start_time is None else _moment(record.start_time)


def _failures(instance: dg.DagsterInstance, record: dg.RunRecord, now: datetime) -> list[_Failure]:
    """The steps that failed in a run, or were under way when it was ended, as one that hangs.

    One that hangs is ended by the run's longest time only; until then it counts as failing.
    """
    run = record.dagster_run
    if run.status == dg.DagsterRunStatus.STARTED:
        if now - began(record) < COUNTS_AS_KILLED_AFTER:
            return []
        at = now
    else:
        at = record.update_timestamp if record.end_time is None else _moment(record.end_time)
    if FIRST_HOUR not in run.tags or LAST_HOUR not in run.tags:
        return []
    start, end = hour_of_key(run.tags[FIRST_HOUR]), hour_of_key(run.tags[LAST_HOUR]) + HOUR
    begun, done = dg.DagsterEventType.STEP_START, dg.DagsterEventType.STEP_SUCCESS
    logs = instance.all_logs(run.run_id, of_type={begun, done})
    steps = {kind: {log.step_key for log in logs if log.dagster_event_type == kind} for kind in (begun, done)}
    return [_Failure(step, start, end, at) for step in steps[begun] - steps[done] if step]


def _moment(timestamp: float) -> datetime:
    return datetime.fromtimestamp(timestamp, UTC)
