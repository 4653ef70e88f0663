"""Detectors that failed in a catch-up run. To ask for the same at once again would only fail again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import dagster as dg

from peebot_dagster.defs.partitions import FIRST_HOUR, LAST_HOUR, hour_of_key
from peebot_dagster.store import HOUR

RESTS = timedelta(hours=1)
"""A detector that has failed is asked for nothing more for so long ..."""

FAILED_HOURS_REST = timedelta(days=1)
"""... and the hours that it failed over wait for longer: what is older has its turn before them."""

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
            statuses=[dg.DagsterRunStatus.FAILURE],
            created_after=max(since, now - FAILED_HOURS_REST),
        )
        self._now = now
        self._failures = [
            failure
            for record in instance.get_run_records(failed, limit=_MOST_RUNS)
            for failure in _failures(instance, record)
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


def _failures(instance: dg.DagsterInstance, record: dg.RunRecord) -> list[_Failure]:
    """The steps that failed in a run, or were under way when it was ended, as one that hangs."""
    run = record.dagster_run
    if FIRST_HOUR not in run.tags or LAST_HOUR not in run.tags:
        return []
    start, end = hour_of_key(run.tags[FIRST_HOUR]), hour_of_key(run.tags[LAST_HOUR]) + HOUR
    begun, done = dg.DagsterEventType.STEP_START, dg.DagsterEventType.STEP_SUCCESS
    logs = instance.all_logs(run.run_id, of_type={begun, done})
    steps = {kind: {log.step_key for log in logs if log.dagster_event_type == kind} for kind in (begun, done)}
    return [
        _Failure(step, start, end, record.create_timestamp) for step in steps[begun] - steps[done] if step
    ]
