"""`peebot compare`: what another version of a detector would change, before it takes over."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path

import psycopg
from psycopg.rows import class_row
from rich.table import Table

from peebot_dagster.detectors.candidate import PREFIX, SUFFIX, candidate_id, load_detector
from peebot_dagster.detectors.comparison import Comparison, compare, counts
from peebot_dagster.detectors.detector import DetectedEvent, Detector
from peebot_local.database import mendable
from peebot_local.detect import check_span, detect_in_recording, detect_in_store
from peebot_local.errors import MendableError

DETAILS = 40
"""So many differences are shown one by one; `--json` has all."""


def find_candidate(reference: str) -> Detector:
    """The detector that `module:attribute` or `file.py:attribute` names."""
    try:
        return load_detector(reference)
    except LookupError as error:
        raise MendableError(str(error.args[0])) from error


def compare_in_recording(
    detector: Detector,
    candidate: Detector,
    recording: Path,
    item: str | None,
    year: int | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
) -> Comparison:
    """Both versions over a CSV file; the arguments are those of `detect_in_recording`."""
    before = detect_in_recording(detector, recording, item, year, start, end)
    return compare(before, detect_in_recording(candidate, recording, item, year, start, end))


def compare_in_store(
    detector: Detector, candidate: Detector, database_url: str, start: datetime, end: datetime
) -> Comparison:
    """Both versions over what is stored; only events that start in [start, end) (UTC). Stores nothing."""
    before = detect_in_store(detector, database_url, start, end)
    return compare(before, detect_in_store(candidate, database_url, start, end))


def compare_stored(detector: Detector, database_url: str, start: datetime, end: datetime) -> Comparison:
    """What the detector and its candidate (PEEBOT_CANDIDATES) have stored of [start, end) (UTC)."""
    check_span(start, end)
    with mendable(database_url), psycopg.connect(database_url) as connection:
        before = _stored(connection, detector.name, start, end)
        after = _stored(connection, detector.name + SUFFIX, start, end)
    if not after:
        raise MendableError(
            f"no event of {detector.name}{SUFFIX} is stored in that span; name a candidate "
            "(module:attribute) or let one run by PEEBOT_CANDIDATES"
        )
    renamed = {candidate_id(event.event_id): event.event_id for event in before}
    return compare(
        before,
        (
            replace(
                event,
                event_id=renamed.get(event.event_id, event.event_id),
                event_type=event.event_type.removeprefix(PREFIX),
            )
            for event in after
        ),
    )


def _stored(
    connection: psycopg.Connection, detector: str, start: datetime, end: datetime
) -> list[DetectedEvent]:
    with connection.cursor(row_factory=class_row(DetectedEvent)) as cursor:
        return cursor.execute(
            """
            SELECT event_id, detector, detector_version, event_type, coalesce(item_id, '') AS item,
                   started_at, ended_at, state, confidence, payload
            FROM detected_event LEFT JOIN telemetry_channel USING (channel_id)
            WHERE detector = %s AND started_at >= %s AND started_at < %s AND state <> 'retracted'
            """,
            (detector, start, end),
        ).fetchall()


def as_tables(comparison: Comparison) -> list[Table]:
    """The comparison for people: counts by event type, and the differences; times are UTC."""
    summary = Table("event", "same", "changed", "gone", "new", title="by event type")
    for event_type, numbers in counts(comparison).items():
        summary.add_row(event_type, *(str(numbers[part]) for part in ("same", "changed", "gone", "new")))
    details = Table("begin (UTC)", "", "before", "after", "differs in", title="differences")
    rows = [
        *(
            (c.before.started_at, "changed", c.before, c.after, ", ".join(c.fields))
            for c in comparison.changed
        ),
        *((event.started_at, "gone", event, None, "") for event in comparison.gone),
        *((event.started_at, "new", None, event, "") for event in comparison.new),
    ]
    for at, kind, before, after, fields in sorted(rows, key=lambda row: row[:2])[:DETAILS]:
        details.add_row(f"{at:%F %T}", kind, _named(before), _named(after), fields)
    if len(rows) > DETAILS:
        details.caption = f"{len(rows) - DETAILS} more; --json has all"
    return [summary, details] if rows else [summary]


def _named(event: DetectedEvent | None) -> str:
    return "" if event is None else f"{event.event_type} {event.state} {event.confidence:.2f}"
