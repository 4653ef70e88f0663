"""What the station has said against what is stored: lost, strange, doubled, and what may be lost."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import psycopg

from iss_simulator.feed import from_timestamp_hours

Key = tuple[str, datetime, str, int]
"""Item, event time (UTC), value and status class: what makes two updates the same."""

_STORED = """
SELECT c.item_id, r.ts, r.raw_value, r.status_class
FROM telemetry_reading r JOIN telemetry_channel c USING (channel_id)
"""
_LINK = "SELECT state, started_at, ended_at FROM link('-infinity', 'infinity') ORDER BY started_at"
_LONGEST_WAY = """
SELECT coalesce(max(received_at - ts), '0') FROM telemetry_reading
WHERE NOT is_snapshot AND received_at - ts < '5 s'
"""


class Said(NamedTuple):
    """One update of the station; `at` (seconds since 1970) is 0 for what it had said before it began."""

    at: float
    listeners: int
    key: Key


class Stretch(NamedTuple):
    """A stretch of time (UTC)."""

    start: datetime
    end: datetime


@dataclass(frozen=True)
class ReadingsVerdict:
    """Counts of updates. `skipped` were lost while the link says that nothing could be heard; `lost` were
    lost though it says LIVE; `strange` are stored and were never said; `doubled` are stored twice; `refused`
    have no value, so that they are no readings and belong into rejected_reading."""

    said: int
    stored: int
    skipped: int
    lost: int
    strange: int
    doubled: int
    refused: int = 0
    examples: tuple[str, ...] = ()


def read_log(path: Path, year: int) -> list[Said]:
    """All that the station has said, in order; a line that is being written is left out."""
    said = []
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            if not line.endswith("\n"):
                break
            at, listeners, item, stamp, value, status = line.rstrip("\n").split("\t")
            key = (item, _to_the_millisecond(from_timestamp_hours(stamp, year)), value, int(status))
            said.append(Said(float(at), int(listeners), key))
    return said


def _to_the_millisecond(ts: datetime) -> datetime:
    """As the store has it."""
    return ts.replace(microsecond=0) + timedelta(milliseconds=round(ts.microsecond / 1000))


def read_store(connection: psycopg.Connection) -> list[Key]:
    """All that is stored."""
    return connection.execute(_STORED).fetchall()


def read_link(connection: psycopg.Connection) -> dict[str, list[Stretch]]:
    """The stretches of each state of the link, in order."""
    told: dict[str, list[Stretch]] = {"LIVE": [], "LOS": [], "DOWN": []}
    for state, start, end in connection.execute(_LINK).fetchall():
        told[state].append(Stretch(start, end))
    return told


def longest_way(connection: psycopg.Connection) -> timedelta:
    """How long an update was on its way, at most, where nothing had held it up."""
    row = connection.execute(_LONGEST_WAY).fetchone()
    assert row is not None  # noqa: S101  an aggregate without GROUP BY has one row
    way: timedelta = row[0]
    return way


def compare(
    said: Iterable[Said],
    stored: Collection[Key],
    live: Sequence[Stretch],
    slack: timedelta,
    until: float = float("inf"),
) -> ReadingsVerdict:
    """Compare what was said from the moment on at which somebody first listened, before `until`.

    An update is older than its arrival, by which the link goes: within `slack` of the ends of a LIVE stretch
    it may be lost.
    """
    updates = list(said)
    kept = set(stored)
    first = next((update.at for update in updates if update.listeners), float("inf"))
    heard = [update for update in updates if update.at and first <= update.at < until]
    missing = [update.key for update in heard if update.key[2].strip() and update.key not in kept]
    inside = [stretch for stretch in live if stretch.end - stretch.start > 2 * slack]
    starts = [stretch.start + slack for stretch in inside]

    def is_live(moment: datetime) -> bool:
        place = bisect_right(starts, moment) - 1
        return place >= 0 and moment < inside[place].end - slack

    lost = [key for key in missing if is_live(key[1])]
    strange = kept - {update.key for update in updates}
    return ReadingsVerdict(
        said=len(heard),
        stored=len(stored),
        skipped=len(missing) - len(lost),
        lost=len(lost),
        strange=len(strange),
        doubled=len(stored) - len(kept),
        refused=sum(not update.key[2].strip() for update in heard),
        examples=tuple(f"{item} {ts:%T.%f} {value}" for item, ts, value, _ in [*lost, *strange][:5]),
    )
