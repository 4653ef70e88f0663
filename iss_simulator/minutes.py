"""Numbered minutes: what is made minute by minute, each from its own seed, needs no minute before it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

BUCKET = timedelta(minutes=1)

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


def bucket_of(moment: datetime) -> int:
    """The number of the minute that holds the moment."""
    return (moment - _EPOCH) // BUCKET


def bucket_start(bucket: int) -> datetime:
    """The first moment of a minute (UTC)."""
    return _EPOCH + bucket * BUCKET
