"""`peebot mute` and `peebot unmute`: the switch that silences all platforms, in words for people."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import psycopg

from peebot_dagster.posts.mute import mute, unmute
from peebot_local.database import mendable

_UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}
_LONGEST = timedelta(days=366)


def span(text: str) -> timedelta:
    """A span of time as people write it: 30m, 2h, 1d12h. ValueError for anything else."""
    parts = re.findall(r"(\d{1,5})\s*([mhd])", text.strip().lower())
    if not parts or re.sub(r"\d{1,5}\s*[mhd]|\s", "", text.strip().lower()):
        raise ValueError(f"{text!r} is no span of time, as in 30m, 2h or 1d12h")
    length = sum((int(number) * _UNITS[unit] for number, unit in parts), timedelta(0))
    if not timedelta(0) < length <= _LONGEST:
        raise ValueError(f"{text!r} is not between a minute and {_LONGEST.days} days")
    return length


def silence(database_url: str, now: datetime, length: timedelta | None) -> str:
    """Mute from `now` (UTC) for a while, or until unmuted; what to tell whoever asked for it."""
    until = None if length is None else now + length
    with mendable(database_url), psycopg.connect(database_url) as connection:
        on_their_way = mute(connection, now, until)
    end = "until ./peebot unmute" if until is None else f"until {until.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    late = f" {on_their_way} post(s) had been begun and cannot be called back." if on_their_way else ""
    return f"Nothing is posted {end}; events are still detected, and skipped as muted.{late}"


def speak(database_url: str) -> str:
    """Lift the mute; what to tell whoever asked for it."""
    with mendable(database_url), psycopg.connect(database_url) as connection:
        lifted = unmute(connection)
    return "Posting goes on with the next event." if lifted else "It was not muted."
