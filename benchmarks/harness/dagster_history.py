"""Fills Dagster's database as a PeeBot leaves it that has run for a month, by Dagster's own storage.

What is pruned is not there: runs and their events are kept 14 days, events without a run 7, ticks with
nothing to tell one. The events carry the numbers and, hourly, pictures of the size that the real ones have.
"""

from __future__ import annotations

import base64
import random
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import dagster as dg
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.events import (
    BATCH_WRITABLE_EVENTS,
    AssetObservationData,
    DagsterEvent,
    DagsterEventType,
    StepMaterializationData,
)
from dagster._core.events.log import EventLogEntry
from dagster._core.remote_origin import RemoteJobOrigin, RemoteRepositoryOrigin
from dagster._core.scheduler.instigation import TickData, TickStatus

from benchmarks.harness.report import progress

RUNS_KEPT = timedelta(days=14)
RUNLESS_KEPT = timedelta(days=7)
SKIPPED_TICKS_KEPT = timedelta(days=1)
HOURLY_EVERY = timedelta(minutes=5)
POSTS_A_DAY = 18
FEED_EVERY = timedelta(seconds=60)
PICTURE_BYTES = 35_000
_BATCH = 1000
_STAGES = (DagsterEventType.RUN_START, DagsterEventType.RUN_SUCCESS)


@dataclass(frozen=True)
class History:
    """How much was made."""

    runs: int
    events: int
    ticks: int


@dataclass(frozen=True)
class Automation:
    """A sensor or schedule as Dagster names it, and how often it has nothing to tell."""

    name: str
    origin_id: str
    selector_id: str
    kind: InstigatorType
    every: timedelta


def make_history(
    instance: dg.DagsterInstance,
    repository: RemoteRepositoryOrigin,
    automations: Sequence[Automation],
    events_assets: Sequence[str],
    now: datetime,
) -> History:
    """Runs, events and ticks up to `now` (UTC). `events_assets` are those of the detectors."""
    chance = random.Random(7)  # noqa: S311  sizes and ids, no secret
    picture = _picture(chance)
    hourly = ["telemetry_minute", *events_assets]
    runs = events = 0
    pending: list[EventLogEntry] = []

    def store(entries: Iterator[EventLogEntry]) -> None:
        nonlocal events
        for entry in entries:
            events += 1
            if entry.dagster_event_type not in BATCH_WRITABLE_EVENTS:
                instance.event_log_storage.store_event(entry)
                continue
            pending.append(entry)
            if len(pending) >= _BATCH:
                instance.event_log_storage.store_event_batch(pending)
                pending.clear()

    for job, at, assets, pictures in _runs(chance, now, hourly):
        run_id = str(uuid.UUID(int=chance.getrandbits(128), version=4))
        instance.add_run(
            dg.DagsterRun(
                job_name=job,
                run_id=run_id,
                status=dg.DagsterRunStatus.SUCCESS,
                remote_job_origin=RemoteJobOrigin(repository, job),
                tags={"dagster/schedule_name": job.removesuffix("_job")},
            )
        )
        runs += 1
        store(_run_events(job, run_id, at, assets, picture if pictures else None, hourly))
        if runs % 500 == 0:
            progress(f"{runs:,} runs, {events:,} events up to {at:%Y-%m-%d}")
    store(_feed_events(now))
    if pending:
        instance.event_log_storage.store_event_batch(pending)
    return History(runs, events, _ticks(instance, automations, now))


def _runs(
    chance: random.Random, now: datetime, hourly: Sequence[str]
) -> Iterator[tuple[str, datetime, Sequence[str], bool]]:
    at = now - RUNS_KEPT
    report_at = at
    while at < now:
        yield "hourly_assets_job", at, hourly, False
        if at >= report_at:
            yield "station_report_job", at, ["station_report"], True
            report_at += timedelta(hours=1)
        if chance.random() < POSTS_A_DAY * (HOURLY_EVERY / timedelta(days=1)):
            yield "publish_posts", at, ["posts"], False
        at += HOURLY_EVERY


def _run_events(
    job: str,
    run_id: str,
    at: datetime,
    assets: Sequence[str],
    picture: str | None,
    pictured: Sequence[str],
) -> Iterator[EventLogEntry]:
    for number, stage in enumerate(_STAGES):
        yield _entry(job, run_id, at + timedelta(seconds=number / 2), DagsterEvent(stage.value, job))
    partition = at.strftime("%Y-%m-%d-%H:00")
    for asset in assets:
        metadata: dict[str, Any] = {"readings": 252_000, "signal_coverage": 0.97}
        if picture is not None:
            metadata |= {f"picture_{i}": dg.MarkdownMetadataValue(picture) for i in range(4)}
        made = dg.AssetMaterialization(
            asset, partition=None if asset in ("posts", "station_report") else partition, metadata=metadata
        )
        yield _entry(job, run_id, at, _materialized(job, made))
    if picture is not None:
        for asset in ("telemetry_reading", *pictured):
            seen = dg.AssetObservation(asset, metadata={"signal_24_h": dg.MarkdownMetadataValue(picture)})
            event = DagsterEvent(
                DagsterEventType.ASSET_OBSERVATION.value,
                job,
                event_specific_data=AssetObservationData(seen),
            )
            yield _entry(job, run_id, at, event)


def _feed_events(now: datetime) -> Iterator[EventLogEntry]:
    at = now - RUNLESS_KEPT
    while at < now:
        told = dg.AssetMaterialization(
            "telemetry_reading",
            metadata={
                "readings_per_second": 70.0,
                "lag_s": 0.4,
                "new_readings": 4200,
                "rejected_last_hour": 0,
            },
        )
        yield _entry(None, "", at, _materialized("", told))
        at += FEED_EVERY


def _ticks(instance: dg.DagsterInstance, automations: Sequence[Automation], now: datetime) -> int:
    made = 0
    for automation in automations:
        at = now - SKIPPED_TICKS_KEPT
        while at < now:
            instance.create_tick(
                TickData(
                    instigator_origin_id=automation.origin_id,
                    instigator_name=automation.name,
                    instigator_type=automation.kind,
                    status=TickStatus.SKIPPED,
                    timestamp=at.timestamp(),
                    selector_id=automation.selector_id,
                    skip_reason="Nothing new.",
                    end_timestamp=at.timestamp() + 1,
                )
            )
            made += 1
            at += automation.every
    return made


def _materialized(job: str, made: dg.AssetMaterialization) -> DagsterEvent:
    return DagsterEvent(
        DagsterEventType.ASSET_MATERIALIZATION.value, job, event_specific_data=StepMaterializationData(made)
    )


def _entry(job: str | None, run_id: str, at: datetime, event: DagsterEvent) -> EventLogEntry:
    return EventLogEntry(  # type: ignore[no-untyped-call]
        None, 20, "", run_id, at.timestamp(), job_name=job, dagster_event=event
    )


def _picture(chance: random.Random) -> str:
    image = base64.b64encode(chance.randbytes(PICTURE_BYTES * 3 // 4)).decode()
    return f"![a picture](data:image/png;base64,{image})"
