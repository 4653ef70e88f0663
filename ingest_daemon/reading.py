"""From an update as received to a reading: parse, validate, date and identify. Pure: no clock, no network.

Each update makes one object on every stage of its way: named tuples, at a third of a frozen dataclass's cost.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import blake2b
from typing import NamedTuple

CLOCK_TOLERANCE = timedelta(minutes=10)
# A counter not reset on New Year's Day runs past the year's end; more than a month of that is nonsense.
MAX_TIMESTAMP_HOURS = 24.0 * (366 + 1 + 31)
MAX_TEXT = 1000
"""Characters of a value that is stored."""
MAX_OTHER_TEXT = 100
"""Characters of a time stamp or a status class that may be one; of the others nothing is used."""

_ONE_DAY = timedelta(days=1)
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[+-]?(?:nan|inf|infinity)", re.IGNORECASE)
_STATUS_CLASS = re.compile(r"-?[0-9]{1,4}")
_ITEM = re.compile(r"[!-~]{1,200}")


Fields = tuple[str | None, str | None, str | None, str | None, str | None, str | None]
"""Of an update, in the feed's order: TimeStamp, Value, Status.Class, .Indicator, .Color, CalibratedData."""


class RawUpdate(NamedTuple):
    """One update as the feed delivered it: strings, None where the feed had nothing; `received_at` in UTC."""

    item: str
    timestamp: str | None
    value: str | None
    status_class: str | None
    status_indicator: str | None
    status_color: str | None
    calibrated: str | None
    is_snapshot: bool
    received_at: datetime


class Reading(NamedTuple):
    """One valid update: event time `ts` (UTC), the value as a number where it is one, and its identity."""

    item: str
    ts: datetime
    received_at: datetime
    value: float | None
    raw_value: str
    status_class: int | None
    is_snapshot: bool
    event_id: int


class Rejection(NamedTuple):
    """One update that is no reading, with a reason code and its fields as they came."""

    item: str
    fields: Mapping[str, object]
    reason: str
    received_at: datetime


class InvalidFieldError(ValueError):
    """A field breaks the rules; the message is the reason code."""


def event_time(timestamp_hours: str | None, received_at: datetime) -> datetime:
    """The moment (UTC, to the millisecond) that decimal hours since "January 0.0" mean when received then.

    The hours hold no year: it is the latest one that does not put the moment more than ten minutes after
    `received_at`. Raises `InvalidFieldError` for what is no such number.
    """
    since_january_0 = timedelta(milliseconds=round(_hours(timestamp_hours) * 3_600_000))
    received_at = received_at.astimezone(UTC)
    limit = received_at + CLOCK_TOLERANCE
    for january_0 in _januaries_0(received_at.year):
        candidate = january_0 + since_january_0
        if candidate <= limit:
            return candidate
    raise InvalidFieldError("timestamp_ahead_of_clock")


def parse(update: RawUpdate) -> Reading | Rejection:
    """The reading that the update holds, or its rejection with the first reason found."""
    try:
        if not _ITEM.fullmatch(update.item):
            raise InvalidFieldError("item_name_invalid")
        ts = event_time(update.timestamp, update.received_at)
        raw_value, value = _value(update.value)
        status_class = _status_class(update.status_class)
    except InvalidFieldError as invalid:
        return _rejection(update, str(invalid))
    event_id = _event_id(update)
    return Reading(
        update.item, ts, update.received_at, value, raw_value, status_class, update.is_snapshot, event_id
    )


def clipped(fields: Sequence[str | None]) -> Fields:
    """The fields, but of what is too long only as much as shows it: memory is bounded by bytes, too."""
    timestamp, value, status_class, status_indicator, status_color, calibrated = fields
    return (
        _start(timestamp, MAX_OTHER_TEXT),
        _start(value, MAX_TEXT),
        _start(status_class, MAX_OTHER_TEXT),
        _start(status_indicator, MAX_OTHER_TEXT),
        _start(status_color, MAX_OTHER_TEXT),
        _start(calibrated, MAX_OTHER_TEXT),
    )


def storable(text: str) -> str:
    """The text without what PostgreSQL's text and jsonb refuse: NUL and lone surrogates."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\x00", "\\x00")


def _start(text: str | None, limit: int) -> str | None:
    # One more than the limit, so that it is rejected as it would have been.
    return text if text is None or len(text) <= limit else text[: limit + 1]


@lru_cache(maxsize=8)
def _januaries_0(year: int) -> tuple[datetime, ...]:
    """The day before New Year's Day: of the next year, of this one and of the last one."""
    return tuple(datetime(y, 1, 1, tzinfo=UTC) - _ONE_DAY for y in (year + 1, year, year - 1))


def _hours(text: str | None) -> float:
    if not text:
        raise InvalidFieldError("timestamp_missing")
    if len(text) > MAX_OTHER_TEXT or not _NUMBER.fullmatch(text):
        raise InvalidFieldError("timestamp_not_a_number")
    hours = float(text)
    if hours <= 0.0:
        raise InvalidFieldError("timestamp_not_positive")
    if hours > MAX_TIMESTAMP_HOURS:
        raise InvalidFieldError("timestamp_out_of_range")
    return hours


def _value(text: str | None) -> tuple[str, float | None]:
    if text is None:
        raise InvalidFieldError("value_missing")
    if len(text) > MAX_TEXT:
        raise InvalidFieldError("value_too_long" if text.strip() else "value_missing")
    stripped = text.strip()
    if _NUMBER.fullmatch(stripped):
        number = float(stripped)
        if not math.isfinite(number):
            raise InvalidFieldError("value_not_finite")
        return text, number
    if not stripped:
        raise InvalidFieldError("value_missing")
    if text != storable(text):
        raise InvalidFieldError("value_not_storable")
    if _NOT_FINITE.fullmatch(stripped):
        raise InvalidFieldError("value_not_finite")
    return text, None


# The classes are few, and hostile ones are forgotten again.
@lru_cache(maxsize=64)
def _status_class(text: str | None) -> int | None:
    if not text:
        return None
    if not _STATUS_CLASS.fullmatch(text):
        raise InvalidFieldError("status_class_not_a_number")
    return int(text)


def _event_id(update: RawUpdate) -> int:
    # Only the value, the last, can hold the separator: different updates have different texts.
    fields = (update.item, update.timestamp or "", update.status_class or "", update.value or "")
    identity = "\x1f".join(fields)
    return int.from_bytes(blake2b(identity.encode(), digest_size=8).digest(), "big", signed=True)


def _rejection(update: RawUpdate, reason: str) -> Rejection:
    fields = {
        "TimeStamp": update.timestamp,
        "Value": update.value,
        "Status.Class": update.status_class,
        "Status.Indicator": update.status_indicator,
        "Status.Color": update.status_color,
        "CalibratedData": update.calibrated,
    }
    return Rejection(
        item=storable(update.item)[:MAX_TEXT],
        fields={name: text if text is None else storable(text[:MAX_TEXT]) for name, text in fields.items()},
        reason=reason,
        received_at=update.received_at,
    )
