"""Near real time: one sensor runs all detectors over what is new, and asks for a posting run when one is due.

Events are stored within the tick: a run would cost two seconds before its first line.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import dagster as dg
import psycopg

from peebot_dagster.defs.detectors import RAN_WITHOUT_ERROR, events_key, events_table, hour_metadata
from peebot_dagster.defs.partitions import HOURS, hour_key
from peebot_dagster.defs.posts import SETTINGS_ERRORS, posting_is_due, posts_job
from peebot_dagster.defs.resources import Store
from peebot_dagster.detection import CatchUp, catch_up, last_error, record_failure
from peebot_dagster.detectors.detector import Detector
from peebot_dagster.store import HOUR, fingerprint

HOURS_PER_TICK = 72
"""Bounds a tick to a second or so; after a long replay the rest follows in the next ticks, newest first."""

REPORTED_HOURS_PER_TICK = 24


@dataclass
class Tick:
    """What one evaluation did: reports for the UI, and whether it has seen all that is new.

    It looked at `hours`, up to `until` (UTC).
    """

    reports: list[dg.AssetMaterialization | dg.AssetCheckEvaluation] = field(default_factory=list)
    complete: bool = True
    hours: set[datetime] = field(default_factory=set)
    until: datetime | None = None
    changes: int = 0
    failed: list[str] = field(default_factory=list)

    def note(self, caught_up: CatchUp) -> None:
        """Take up what a detector's catching up has done."""
        for result in caught_up.results:
            reached = min(result.watermark, caught_up.hours[0] + HOUR)
            self.until = max(reached, self.until or reached)
            self.changes += len(result.new) + len(result.updated) + len(result.retracted)
        self.hours |= set(caught_up.hours)
        self.complete = self.complete and caught_up.complete

    def told(self) -> str:
        """What was done, in a line for whoever reads the ticks."""
        parts = [f"Failed: {', '.join(self.failed)}."] if self.failed else []
        if self.until is not None:
            changed = {0: "no event", 1: "1 event"}.get(self.changes, f"{self.changes} events")
            hours = "1 hour" if len(self.hours) == 1 else f"{len(self.hours)} hours"
            parts.append(f"Looked at {hours} up to {self.until:%H:%M:%S} UTC; {changed} changed.")
        return " ".join(parts) or "Nothing new."


def run_detectors(connection: psycopg.Connection, detectors: Sequence[Detector]) -> Tick:
    """Let each detector catch up. One that fails stops no other: it shows as a failed check."""
    tick = Tick()
    for detector in detectors:
        error_before = last_error(connection, detector)
        connection.commit()
        error, materializations = None, []
        try:
            caught_up = catch_up(connection, detector, HOURS_PER_TICK)
        except psycopg.OperationalError:
            raise  # the store's fault, not the detector's: the tick fails and the next one catches up
        except Exception as failure:
            error = record_failure(connection, detector, failure)
            tick.failed.append(detector.name)
            tick.complete = False
        else:
            changed = sorted({h for result in caught_up.results for h in result.changed_hours}, reverse=True)
            materializations = _materializations(connection, detector, changed[:REPORTED_HOURS_PER_TICK])
            tick.note(caught_up)
        tick.reports += materializations
        # The UI shows a check for the latest materialisation only, so it goes along with each.
        if materializations or error != error_before:
            tick.reports.append(_check(detector, error))
        connection.commit()
    return tick


def _materializations(
    connection: psycopg.Connection, detector: Detector, hours: Sequence[datetime]
) -> list[dg.AssetMaterialization]:
    reports: list[dg.AssetMaterialization] = []
    for hour in hours:
        # An hour before PEEBOT_PARTITIONS_START has events in the store, but no partition to show them.
        if not HOURS.has_partition_key(hour_key(hour)):
            continue
        metadata = hour_metadata(connection, detector, hour, hour + HOUR)[hour]
        if not reports:
            metadata["latest_events"] = events_table(connection, detector, hour + HOUR)
        reports.append(
            dg.AssetMaterialization(events_key(detector), partition=hour_key(hour), metadata=metadata)
        )
    return reports[::-1]


def _check(detector: Detector, error: str | None) -> dg.AssetCheckEvaluation:
    return dg.AssetCheckEvaluation(
        asset_key=events_key(detector),
        check_name=RAN_WITHOUT_ERROR,
        passed=error is None,
        severity=dg.AssetCheckSeverity.ERROR,
        description=error or "The latest run ended without an error.",
    )


def live_detection_sensor(detectors: Sequence[Detector]) -> dg.SensorDefinition:
    """The sensor `live_detection` over these detectors."""

    # Below the sensor daemon's own loop of 5 s: an interval of 5 beats against it and skips every other loop.
    @dg.sensor(
        name="live_detection",
        job_name=posts_job.name,
        minimum_interval_seconds=1,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=(
            "Runs all detectors over the hours whose telemetry is new, stores their events, and starts a "
            "posting run when an event is due. Its cursor only saves work: a lost one costs a re-run."
        ),
    )
    def live_detection(context: dg.SensorEvaluationContext, store: Store) -> dg.SensorResult:
        tick, due, misconfigured = Tick(), False, ""
        with store.connect() as connection:
            # Read before the telemetry: what is stored in between is looked at in the next tick.
            seen = fingerprint(connection)
            connection.commit()
            if seen != context.cursor:
                tick = run_detectors(connection, detectors)
            try:
                due = posting_is_due(context.instance, connection, datetime.now(UTC))
            except SETTINGS_ERRORS as error:
                misconfigured = f" Nothing is posted: {error}."
        cursor = seen if tick.complete else None
        if due:
            return dg.SensorResult(asset_events=tick.reports, run_requests=[dg.RunRequest()], cursor=cursor)
        return dg.SensorResult(
            asset_events=tick.reports,
            skip_reason=tick.told() + misconfigured,
            cursor=cursor,
        )

    return live_detection
