"""What ISSLIVE publishes: updates of items, and the feed's own fields and TimeStamp."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zlib import crc32

FIELDS = ("TimeStamp", "Value", "Status.Class", "Status.Indicator", "Status.Color", "CalibratedData")
GOOD = "24"
"""Status.Class of a good value; on TIME_000001 it means that the signal is acquired (AOS)."""

CLOCK_ITEM = "TIME_000001"
YEAR_ITEM = "TIME_000002"

_MICROSECOND = timedelta(microseconds=1)
_MICROSECONDS_PER_HOUR = 3_600_000_000
_ONE_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Update:
    """One item took a value at an event time (UTC)."""

    item: str
    ts: datetime
    value: str
    status_class: str = GOOD

    def fields(self) -> tuple[str | None, ...]:
        """The values of FIELDS, as the feed sends them."""
        return feed_fields(timestamp_hours(self.ts), self.value, self.status_class)


def feed_fields(timestamp: str, value: str, status_class: str = GOOD) -> tuple[str | None, ...]:
    """The values of FIELDS for a TimeStamp that is already in the feed's hours."""
    return (timestamp, value, status_class, "", None, value)


def timestamp_hours(ts: datetime) -> str:
    """The feed's TimeStamp: decimal hours since January 0.0 UTC, so that a year begins with 24.0."""
    hours = (ts - _january_0(ts.year)) // _MICROSECOND / _MICROSECONDS_PER_HOUR
    return f"{hours:.11f}".rstrip("0").rstrip(".")


def from_timestamp_hours(hours: str, year: int) -> datetime:
    """The event time (UTC) of a TimeStamp, in a year that the feed itself does not tell."""
    return _january_0(year) + timedelta(microseconds=round(float(hours) * _MICROSECONDS_PER_HOUR))


def clock_update(ts: datetime, status_class: str = GOOD) -> Update:
    """A tick of TIME_000001: milliseconds since the year began."""
    milliseconds = (ts - datetime(ts.year, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    return Update(CLOCK_ITEM, ts, str(milliseconds), status_class)


def year_update(ts: datetime) -> Update:
    """A tick of TIME_000002: the year."""
    return Update(YEAR_ITEM, ts, str(ts.year))


def sample_phase(item: str) -> timedelta:
    """Within each second, the moment at which the station samples an item."""
    return timedelta(milliseconds=crc32(item.encode()) % 1000)


def _january_0(year: int) -> datetime:
    return datetime(year, 1, 1, tzinfo=UTC) - _ONE_DAY
