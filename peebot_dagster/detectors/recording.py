"""Recorded telemetry from a CSV file, and events as JSON: what a detector needs to run by hand, without a
database."""

from __future__ import annotations

import csv
import gzip
import math
import zlib
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TextIO, cast

import pandas as pd

from peebot_dagster.detectors.detector import DetectedEvent, Window

_ONE_CHANNEL = ["ts_utc", "value"]
_MANY_CHANNELS = ["ts_utc", "item", "value"]
_AS_SENT = ["timestamp_hours", "item", "value"]
_HEADERS = (_ONE_CHANNEL, _MANY_CHANNELS, _AS_SENT)
# The first module of the station was launched in 1998, and nanosecond timestamps end in 2262.
_FIRST_YEAR, _LAST_YEAR = 1998, 2261
# The hours count the day before New Year's Day, and may run on for a month after the year's end.
_MOST_HOURS = 24 * (366 + 1 + 31)
_CLOCK_TOLERANCE = timedelta(minutes=10)


class RecordingError(ValueError):
    """The file is no recording; the message is one line that names the file, the line and the fault."""


def read_recording(
    path: Path | str, item: str | None = None, *, year: int | None = None, now: datetime | None = None
) -> Window:
    """All readings of a CSV file with the header `ts_utc,value`, `ts_utc,item,value` or
    `timestamp_hours,item,value`, plain or .gz, as one window.

    `item` names the channel of a file that has no column for it, and is not used for one that has. Times are
    ISO 8601 and UTC unless they carry another offset; or else the feed's own hours since January 0.0 UTC, in
    which there is no year: it is `year`, or the latest one that does not put the first row after `now`.
    Nothing is known about the link. RecordingError for a file that cannot be read and for the first bad row.
    """
    path = Path(path)
    try:
        with _open(path) as lines:
            rows = list(_rows(path, lines, item, _Hours(year, now)))
    except OSError as error:
        raise RecordingError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (EOFError, UnicodeDecodeError, zlib.error) as error:
        raise RecordingError(f"{path}: is no text, or damaged: {error}") from error
    if not rows:
        raise RecordingError(f"{path}: no readings")
    ts, items, values = zip(*rows, strict=True)
    readings = pd.DataFrame(
        {
            "ts": pd.to_datetime(list(ts), utc=True),
            "item": list(items),
            "value": pd.Series(values, dtype="float64"),
            "status_class": pd.array([pd.NA] * len(rows), dtype="Int64"),
        }
    ).sort_values("ts", kind="stable", ignore_index=True)
    # The end of a window is exclusive, and the last reading is known.
    return Window(start=min(ts), end=max(ts) + timedelta(microseconds=1), readings=readings)


def events_to_json(events: Iterable[DetectedEvent]) -> list[dict[str, Any]]:
    """The events as plain values for `json.dumps`, times as ISO 8601 UTC."""
    return [
        {
            "event_id": str(event.event_id),
            "detector": event.detector,
            "event_type": event.event_type,
            "started_at": event.started_at.isoformat(),
            "ended_at": None if event.ended_at is None else event.ended_at.isoformat(),
            "state": event.state,
            "confidence": event.confidence,
            "payload": dict(event.payload),
        }
        for event in events
    ]


def _open(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return cast("TextIO", gzip.open(path, "rt", encoding="utf-8-sig", newline=""))
    return path.open(encoding="utf-8-sig", newline="")


class _Hours:
    """The feed's hours as moments; the first one decides on the year."""

    def __init__(self, year: int | None, now: datetime | None) -> None:
        self._year = year
        self._now = now
        self._january_0: datetime | None = None

    def moment(self, text: str) -> datetime:
        try:
            hours = float(text)
        except ValueError:
            hours = math.nan
        if not 0.0 < hours <= _MOST_HOURS:
            raise ValueError(f"timestamp_hours is {text!r:.80}; expected hours since January 0.0 UTC")
        since_january_0 = timedelta(milliseconds=round(hours * 3_600_000))
        if self._january_0 is None:
            self._january_0 = self._first_day(since_january_0)
        return self._january_0 + since_january_0

    def _first_day(self, first: timedelta) -> datetime:
        if self._year is not None:
            return _january_0(self._year)
        if self._now is None:
            raise ValueError("the hours tell no year, so the year must be given")
        latest = self._now.astimezone(UTC) + _CLOCK_TOLERANCE
        years = (latest.year + 1, latest.year, latest.year - 1)
        return next(day for day in map(_january_0, years) if day + first <= latest)


def _january_0(year: int) -> datetime:
    return datetime(year, 1, 1, tzinfo=UTC) - timedelta(days=1)


def _rows(
    path: Path, lines: TextIO, item: str | None, hours: _Hours
) -> Iterator[tuple[datetime, str, float]]:
    reader = csv.reader(lines, strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        if header not in _HEADERS:
            expected = " or ".join(repr(",".join(columns)) for columns in _HEADERS)
            raise RecordingError(f"{path}:1: the header is {','.join(header)!r:.80}; expected {expected}")
        if header == _ONE_CHANNEL and item is None:
            raise RecordingError(f"{path}:1: the file names no item, so the item must be given")
        time_of = hours.moment if header == _AS_SENT else _time
        for row in reader:
            if not row:
                continue
            if len(row) != len(header):
                raise ValueError(f"{len(row)} columns; expected {','.join(header)}")
            yield time_of(row[0]), _item(item if header == _ONE_CHANNEL else row[1]), _number(row[-1])
    except (csv.Error, ValueError) as error:
        if isinstance(error, RecordingError | UnicodeDecodeError):
            raise
        raise RecordingError(f"{path}:{reader.line_num}: {error}") from error


def _time(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text.strip())
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(f"ts_utc is {text!r:.80}; expected an ISO 8601 time") from None
    if not _FIRST_YEAR <= moment.year <= _LAST_YEAR:
        raise ValueError(f"ts_utc is {text!r:.80}; expected a year from {_FIRST_YEAR} to {_LAST_YEAR}")
    return moment


def _item(name: str | None) -> str:
    if not name or not name.strip():
        raise ValueError("item is empty")
    return name.strip()


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"value is {text!r:.80}; expected a number")
    return number
