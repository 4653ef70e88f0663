"""Recordings of telemetry on disk: CSV files, plain or .gz, of one channel or of many."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TextIO, cast

from ingest_daemon.reading import MAX_TIMESTAMP_HOURS
from iss_simulator.feed import from_timestamp_hours, timestamp_hours

_ALLOWED_SKEW = timedelta(minutes=10)
_LAYOUTS = "ts_utc,value or ts_utc,item,value or timestamp_hours,item,value"
# The first module of the station was launched in 1998.
_FIRST_YEAR, _LAST_YEAR = 1998, 2261


class RecordingError(Exception):
    """A file that cannot be played; the message is one line that says where and why, or what to do."""


@dataclass(frozen=True, slots=True)
class RecordedUpdate:
    """One row: event time (UTC), the feed's TimeStamp in hours, item, value, and its line in the file."""

    ts: datetime
    timestamp: str
    item: str
    value: str
    line: int


@dataclass(frozen=True, slots=True)
class Recording:
    """A file with one of the headers `ts_utc,value`, `ts_utc,item,value`, `timestamp_hours,item,value`.

    `item` names the channel of a file without an item column. `ts_utc` is UTC unless it carries another
    offset. Hours have no year in them: a file of hours is dated in `year`, else in the year of `start`, else
    like the feed itself, in the latest year that puts its first row not after `now`. Rows are kept from
    `start` (inclusive) to `stop` (exclusive).
    """

    path: Path
    now: datetime
    item: str | None = None
    start: datetime | None = None
    stop: datetime | None = None
    year: int | None = None

    def rows(self) -> Iterator[RecordedUpdate]:
        """The rows in the file's order, which may deviate from the order of time.

        RecordingError for a file that cannot be read, and for the first row that is none. The values are
        told as they are: what is a good one is for the reader of the feed to judge.
        """
        for update in self._dated():
            if (self.start is None or update.ts >= self.start) and (
                self.stop is None or update.ts < self.stop
            ):
                yield update

    def with_fixed_year(self) -> Recording:
        """The same with the year in it that hours get now, whenever and with whatever span it is played."""
        for line, row in _csv_rows(self.path):
            if "timestamp_hours" in row:
                return replace(self, year=self._year_of(_hours(self.path, line, row["timestamp_hours"])))
            break
        return self

    def _dated(self) -> Iterator[RecordedUpdate]:
        year = self.year
        for line, row in _csv_rows(self.path):
            item = row.get("item", self.item)
            if item is None:
                raise RecordingError(f"{self.path} has no item column: say which channel it is by --item")
            if not item:
                raise RecordingError(f"{self.path}:{line}: item is empty")
            if "timestamp_hours" in row:
                hours = _hours(self.path, line, row["timestamp_hours"])
                year = year or self._year_of(hours)
                ts = from_timestamp_hours(hours, year)
            else:
                ts = _utc(self.path, line, row["ts_utc"])
                hours = timestamp_hours(ts)
            yield RecordedUpdate(ts, hours, item, row["value"], line)

    def _year_of(self, hours: str) -> int:
        if self.year is not None:
            return self.year
        if self.start is not None:
            return self.start.year
        this_year = self.now.year
        not_in_the_future = from_timestamp_hours(hours, this_year) <= self.now + _ALLOWED_SKEW
        return this_year if not_in_the_future else this_year - 1


def _csv_rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Each row with its line; all have a value, and a ts_utc or else a timestamp_hours."""
    line = 1
    try:
        with _open_text(path) as lines:
            reader = csv.reader(lines, strict=True)
            header = [name.strip() for name in next(reader, [])]
            times = {"ts_utc", "timestamp_hours"} & set(header)
            if "value" not in header or len(times) != 1 or ("item" not in header and "ts_utc" not in times):
                raise RecordingError(f"{path}:1: the header is {','.join(header)!r:.80}; expected {_LAYOUTS}")
            for cells in reader:
                line = reader.line_num
                if not cells:
                    continue
                if len(cells) != len(header):
                    raise RecordingError(f"{path}:{line}: {len(cells)} columns; expected {','.join(header)}")
                yield line, dict(zip(header, map(str.strip, cells), strict=True))
    except OSError as error:
        raise RecordingError(f"{path}: cannot be read: {error.strerror or error}") from error
    except csv.Error as error:
        raise RecordingError(f"{path}:{line + 1}: {error}") from error
    except (EOFError, UnicodeDecodeError, zlib.error) as error:
        raise RecordingError(f"{path}: is no text, or damaged: {error}") from error


def _utc(path: Path, line: int, text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise RecordingError(f"{path}:{line}: ts_utc is {text!r:.80}; expected an ISO 8601 time") from None
    if not _FIRST_YEAR <= moment.year <= _LAST_YEAR:
        raise RecordingError(
            f"{path}:{line}: ts_utc is {text!r:.80}; expected a year from {_FIRST_YEAR} to {_LAST_YEAR}"
        )
    return moment


def _hours(path: Path, line: int, text: str) -> str:
    try:
        is_plausible = 0.0 < float(text) <= MAX_TIMESTAMP_HOURS
    except ValueError:
        is_plausible = False
    if not is_plausible:
        raise RecordingError(
            f"{path}:{line}: timestamp_hours is {text!r:.80}; expected hours since January 0.0 UTC"
        )
    return text


def _open_text(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return cast(TextIO, gzip.open(path, "rt", encoding="utf-8-sig", newline=""))
    return path.open(encoding="utf-8-sig", newline="")
