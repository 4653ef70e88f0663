"""The factory: one hourly-partitioned asset and its checks for each registered detector."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import psycopg

from peebot_dagster.defs.health import result as check_result
from peebot_dagster.defs.labels import GROUP, OWNERS, table_metadata
from peebot_dagster.defs.partitions import DAYS, HOURS, hour_key, steps
from peebot_dagster.defs.resources import Store
from peebot_dagster.defs.retries import tried_again_if_the_store_fails
from peebot_dagster.defs.telemetry import telemetry_minute, telemetry_reading
from peebot_dagster.detection import detect_span, record_failure
from peebot_dagster.detectors.detector import Detector
from peebot_dagster.events import event_counts, latest_events
from peebot_dagster.heard import CHANNELS_HEARD, heard
from peebot_dagster.store import HOUR, coverage

RAN_WITHOUT_ERROR = "ran_without_error"

LATEST_EVENTS = 10


def events_key(detector: Detector) -> dg.AssetKey:
    """The asset that holds the detector's events."""
    return dg.AssetKey(f"{detector.name}_events")


def detector_asset(detector: Detector) -> dg.AssetsDefinition:
    """The asset `<detector>_events`: the part of detected_event that this detector keeps in line."""

    @dg.asset(
        key=events_key(detector),
        deps=[telemetry_reading, telemetry_minute],
        partitions_def=HOURS,
        backfill_policy=DAYS,
        check_specs=[
            dg.AssetCheckSpec(
                RAN_WITHOUT_ERROR,
                asset=events_key(detector),
                description="The detector's last run, live or in a backfill, ended without an error.",
            ),
            dg.AssetCheckSpec(
                CHANNELS_HEARD,
                asset=events_key(detector),
                description=(
                    "In the last 24 h, when most of them were heard: a good reading of one of its channels "
                    "at least, and of each that had one on each of the seven days before."
                ),
            ),
        ],
        group_name=GROUP,
        owners=OWNERS,
        kinds={"postgres", "python", "pandas"},
        tags={"domain": "iss", "detector": detector.name},
        code_version=detector.version,
        description=_description(detector),
        metadata={
            "detector": detector.name,
            "detector_version": detector.version,
            "items": dg.MetadataValue.json(list(detector.items)),
            "look_back_s": detector.look_back.total_seconds(),
            "settle_s": detector.settle.total_seconds(),
            **table_metadata(
                "detected_event",
                ("event_id", "uuid", "UUID derived from detector, item and time of the first step."),
                ("event_type", "text", "What happened, as in toilet_visit."),
                (
                    "started_at",
                    "timestamptz",
                    "Time of the first step (UTC); what a gap hides began after payload.hidden_since.",
                ),
                ("ended_at", "timestamptz", "Last evidence (UTC); NULL until there is one."),
                (
                    "state",
                    "text",
                    "open (may still grow), closed (final), retracted (disproved by later data).",
                ),
                ("confidence", "real", "0 to 1; the reasons are in the payload."),
                ("payload", "jsonb", "Facts with their units in the key, as in amount_percent."),
            ),
        },
    )
    def events(
        context: dg.AssetExecutionContext, store: Store
    ) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult[None]]:
        window = context.partition_time_window
        new = updated = retracted = 0
        with tried_again_if_the_store_fails(), store.connect() as connection:
            failures: list[Exception] = []
            for start, end in steps(window.start, window.end, timedelta(days=1)):
                try:
                    result = detect_span(connection, detector, start, end)
                except psycopg.OperationalError:
                    raise  # the store's fault, not the detector's
                except Exception as error:
                    failures.append(error)
                    context.log.error(f"{start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC: {error!r}")
                    if connection.closed:
                        break
                    continue
                new += len(result.new)
                updated += len(result.updated)
                retracted += len(result.retracted)
                context.log.info(
                    f"{len(result.events)} events from {start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC"
                )
            if failures:
                # The server ends the session of a detector that takes too long.
                with store.connect() as of_its_own:
                    reason = record_failure(of_its_own, detector, failures[0])
                yield dg.AssetCheckResult(check_name=RAN_WITHOUT_ERROR, passed=False, description=reason)
                raise failures[0]
            known = coverage(connection, detector.items[:1], window.start, window.end)
            for hour, counts in hour_counts(connection, detector, window.start, window.end).items():
                numbers = {**counts, "signal_coverage": known.get(hour, 0.0)}
                context.add_asset_metadata(numbers, partition_key=hour_key(hour))
            table = events_table(connection, detector, window.end)
            channels = heard(connection, detector, datetime.now(UTC))
        context.add_asset_metadata({"latest_events": table}, partition_key=hour_key(window.end - HOUR))
        yield dg.MaterializeResult(
            metadata={"new_by_run": new, "updated_by_run": updated, "retracted_by_run": retracted},
            check_results=[
                dg.AssetCheckResult(check_name=RAN_WITHOUT_ERROR, passed=True),
                check_result(channels, events_key(detector)),
            ],
        )

    return events


def _description(detector: Detector) -> str:
    first_paragraph = (type(detector).__doc__ or detector.name).strip().split("\n\n")[0]
    summary = " ".join(first_paragraph.split())
    return (
        f"{summary}\n\nEvents: {', '.join(detector.event_types)}. Watches {', '.join(detector.items)}. "
        "The sensors `live_detection` keep the running hour up to date within seconds; the schedule "
        "`hourly_assets` and backfills recompute hours with the same function and repair what live missed. "
        "An event has the same id whoever finds it."
    )


def hour_counts(
    connection: psycopg.Connection, detector: Detector, start: datetime, end: datetime
) -> dict[datetime, dict[str, Any]]:
    """How many events of each type began in each hour (UTC) of [start, end), always for the whole hour.

    The UI draws the highest value that a partition ever reported, so no part of an hour is counted alone.
    """
    counts = event_counts(connection, detector.name, start, end)
    nothing: Counter[str] = Counter()
    return {
        hour: {
            **{event_type: counts.get(hour, nothing)[event_type] for event_type in detector.event_types},
            "retracted": counts.get(hour, nothing)["retracted"],
        }
        for hour, _ in steps(start, end, HOUR)
    }


def events_table(
    connection: psycopg.Connection, detector: Detector, before: datetime
) -> dg.TableMetadataValue:
    """The detector's latest events that start before `before` (UTC), newest first."""
    return dg.MetadataValue.table(
        records=[
            dg.TableRecord(
                {
                    "event_type": event.event_type,
                    "started_at": f"{event.started_at:%Y-%m-%d %H:%M:%S}",
                    "seconds": (event.ended_at - event.started_at).total_seconds()
                    if event.ended_at
                    else None,
                    "state": event.state,
                    "confidence": round(event.confidence, 2),
                    "facts": _facts(event.payload),
                    "reasons": "; ".join(event.payload.get("reasons", [])),
                }
            )
            for event in latest_events(connection, detector.name, before, LATEST_EVENTS)
        ],
        schema=dg.TableSchema(
            columns=[
                dg.TableColumn("event_type", "string"),
                dg.TableColumn("started_at", "string", "UTC"),
                dg.TableColumn("seconds", "float", "From the first to the last evidence."),
                dg.TableColumn("state", "string"),
                dg.TableColumn("confidence", "float", "0 to 1"),
                dg.TableColumn("facts", "string", "The payload; units are in the names."),
                dg.TableColumn("reasons", "string", "Why the detector thinks so."),
            ]
        ),
    )


def _facts(payload: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name} {json.dumps(value)}"
        for name, value in payload.items()
        if name != "reasons" and value is not None and value is not False
    )
