"""`peebot detect`: a detector by hand, on a recording or on a window of the database; stores nothing."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
from rich.table import Table

from peebot_dagster.detection import load_window
from peebot_dagster.detectors.detector import DetectedEvent, Detector
from peebot_dagster.detectors.recording import RecordingError, events_to_json, read_recording
from peebot_dagster.detectors.registry import get
from peebot_local.database import mendable
from peebot_local.errors import MendableError


def find_detector(name: str) -> Detector:
    """The registered detector of that name."""
    try:
        return get(name)
    except LookupError as error:
        raise MendableError(str(error.args[0])) from error


def check_span(start: datetime | None, end: datetime | None) -> None:
    """MendableError for a span that ends before it begins."""
    if start is not None and end is not None and end <= start:
        raise MendableError("--to must be later than --from")


def detect_in_recording(
    detector: Detector,
    recording: Path,
    item: str | None,
    year: int | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
) -> list[DetectedEvent]:
    """The events of a CSV file that start in [start, end) (UTC; None: no bound on that side).

    A file of one channel is the detector's first item unless told otherwise. `year` is that of a file of the
    feed's hours; without it, they are dated like the feed itself.
    """
    check_span(start, end)
    try:
        window = read_recording(recording, item or detector.items[0], year=year, now=datetime.now(UTC))
    except RecordingError as error:
        raise MendableError(str(error)) from error
    # The whole file is looked at, so that a bound changes nothing of the events beside it.
    return [
        event
        for event in detector.detect(window)
        if (start is None or start <= event.started_at) and (end is None or event.started_at < end)
    ]


def detect_in_store(
    detector: Detector, database_url: str, start: datetime, end: datetime
) -> list[DetectedEvent]:
    """The events that start in [start, end) (UTC)."""
    check_span(start, end)
    with mendable(database_url), psycopg.connect(database_url) as connection:
        window = load_window(connection, detector, start, end)
    return [event for event in detector.detect(window) if start <= event.started_at < end]


def as_json(events: list[DetectedEvent]) -> list[dict[str, Any]]:
    """The events as `--json` prints them."""
    return events_to_json(events)


def as_table(events: list[DetectedEvent]) -> Table:
    """The events for people; times are UTC."""
    columns = ("begin (UTC)", "end", "event", "amount", "state", "confidence")
    table = Table(*columns, title=f"{len(events)} events")
    for event in events:
        amount = event.payload.get("amount_percent")
        table.add_row(
            f"{event.started_at:%F %T}",
            f"{event.ended_at:%T}" if event.ended_at else "",
            event.event_type,
            "" if amount is None else f"{amount} %",
            event.state,
            f"{event.confidence:.2f}",
        )
    return table
