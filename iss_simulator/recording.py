"""Recordings of telemetry on disk: CSV files, plain or .gz, of one channel or of many."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TextIO, cast

from iss_simulator.feed import from_timestamp_hours, timestamp_hours

_ALLOWED_SKEW = timedelta(minutes=10)


class RecordingError(Exception):
    """A file that cannot be played; the message says what to do."""


@dataclass(frozen=True, slots=True)
class RecordedUpdate:
    """One row: event time (UTC), the feed's TimeStamp in hours, item and value."""

    ts: datetime
    timestamp: str
    item: str
    value: str


@dataclass(frozen=True, slots=True)
class Recording:
    """A file with one of the headers `ts_utc,value`, `ts_utc,item,value`, `timestamp_hours,item,value`.

    `item` names the channel of a file without an item column. Hours have no year in them: a file of hours
    is dated like the feed itself, in the latest year that puts its first row not after `now`, or in the
    year of `start` where one is given. Rows are kept from `start` (inclusive) to `stop` (exclusive).
    """

    path: Path
    now: datetime
    item: str | None = None
    start: datetime | None = None
    stop: datetime | None = None

    def rows(self) -> Iterator[RecordedUpdate]:
        """The rows in the file's order, which may deviate from the order of time."""
        with _open_text(self.path) as lines:
            reader = csv.DictReader(lines)
            columns = frozenset(reader.fieldnames or ())
            if "value" not in columns or not columns & {"ts_utc", "timestamp_hours"}:
                raise RecordingError(
                    f"{self.path}: expected ts_utc,value or ts_utc,item,value or timestamp_hours,item,value"
                )
            if "item" not in columns and self.item is None:
                raise RecordingError(f"{self.path} has no item column: say which channel it is by --item")
            for update in self._dated(reader):
                if (self.start is None or update.ts >= self.start) and (
                    self.stop is None or update.ts < self.stop
                ):
                    yield update

    def _dated(self, reader: csv.DictReader[str]) -> Iterator[RecordedUpdate]:
        year: int | None = None
        for row in reader:
            item = row.get("item") or cast(str, self.item)
            hours = row.get("timestamp_hours")
            if hours is None:
                ts = datetime.fromisoformat(row["ts_utc"]).astimezone(UTC)
                hours = timestamp_hours(ts)
            else:
                if year is None:
                    year = self.start.year if self.start else self._latest_year(hours)
                ts = from_timestamp_hours(hours, year)
            yield RecordedUpdate(ts, hours, item, row["value"])

    def _latest_year(self, hours: str) -> int:
        this_year = self.now.year
        not_in_the_future = from_timestamp_hours(hours, this_year) <= self.now + _ALLOWED_SKEW
        return this_year if not_in_the_future else this_year - 1


def _open_text(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return cast(TextIO, gzip.open(path, "rt", encoding="utf-8", newline=""))
    return path.open(encoding="utf-8", newline="")
