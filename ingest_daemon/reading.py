"""From an update as received to a reading: parse, validate, date and identify. Pure: no clock, no network."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import blake2b

CLOCK_TOLERANCE = timedelta(minutes=10)
# A counter not reset on New Year's Day runs past the year's end; more than a month of that is nonsense.
MAX_TIMESTAMP_HOURS = 24.0 * (366 + 1 + 31)
MAX_TEXT = 1000

_ONE_DAY = timedelta(days=1)
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[+-]?(?:nan|inf|infinity)", re.IGNORECASE)
_STATUS_CLASS = re.compile(r"-?[0-9]{1,4}")
_ITEM = re.compile(r"[!-~]{1,200}")


@dataclass(frozen=True, slots=True)
class RawUpdate:
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


@dataclass(frozen=True, slots=True)
class Reading:
    """One valid update: event time `ts` (UTC), the value as a number where it is one, and its identity."""

    item: str
    ts: datetime
    received_at: datetime
    value: float | None
    raw_value: str
    status_class: int | None
    is_snapshot: bool
    event_id: int


@dataclass(frozen=True, slots=True)
class Rejection:
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
    for year in (received_at.year + 1, received_at.year, received_at.year - 1):
        candidate = datetime(year, 1, 1, tzinfo=UTC) - _ONE_DAY + since_january_0
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
        return Reading(
            item=update.item,
            ts=ts,
            received_at=update.received_at,
            value=value,
            raw_value=raw_value,
            status_class=_status_class(update.status_class),
            is_snapshot=update.is_snapshot,
            event_id=_event_id(update),
        )
    except InvalidFieldError as invalid:
        return _rejection(update, str(invalid))


def _hours(text: str | None) -> float:
    if not text:
        raise InvalidFieldError("timestamp_missing")
    if not _NUMBER.fullmatch(text):
        raise InvalidFieldError("timestamp_not_a_number")
    hours = float(text)
    if hours <= 0.0:
        raise InvalidFieldError("timestamp_not_positive")
    if hours > MAX_TIMESTAMP_HOURS:
        raise InvalidFieldError("timestamp_out_of_range")
    return hours


def _value(text: str | None) -> tuple[str, float | None]:
    if text is None or not text.strip():
        raise InvalidFieldError("value_missing")
    if len(text) > MAX_TEXT:
        raise InvalidFieldError("value_too_long")
    if text != _storable(text):
        raise InvalidFieldError("value_not_storable")
    stripped = text.strip()
    if _NOT_FINITE.fullmatch(stripped):
        raise InvalidFieldError("value_not_finite")
    if not _NUMBER.fullmatch(stripped):
        return text, None
    number = float(stripped)
    if not math.isfinite(number):
        raise InvalidFieldError("value_not_finite")
    return text, number


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


def _storable(text: str) -> str:
    # PostgreSQL's text and jsonb refuse NUL and lone surrogates.
    return text.encode("utf-8", "backslashreplace").decode().replace("\x00", "\\x00")


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
        item=_storable(update.item)[:MAX_TEXT],
        fields={
            name: text if text is None else _storable(text[:MAX_TEXT]) for name, text in fields.items()
        },
        reason=reason,
        received_at=update.received_at,
    )
