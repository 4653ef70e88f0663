"""Which detectors are in a hurry: their states have just changed. No Dagster; the clock is passed in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import psycopg

from peebot_dagster.detectors.detector import Detector, follows_link, state_items

QUICKEST = timedelta(seconds=1)
"""How soon is looked again, at most; the link is confirmed each second."""

PATIENCE = 30
"""What has not changed for a time is looked at again after this part of that time."""

HURRY = timedelta(minutes=3)
"""After that, a change of a state hurries nobody: what it means is decided once it has held for a minute."""

BREATHER = 20
"""Whoever is in a hurry rests for so many times as long as its last look took: each takes 5 % of a processor
at most."""

CALM = timedelta(minutes=1)
"""Only a change after so long without one is looked at without any rest: a state that flutters is not."""

REMEMBERED = timedelta(days=1)
"""How far back a state is looked for; before that, what was known of it stands."""

AHEAD = timedelta(minutes=1)
"""Stamps further in the future than clocks differ are wrong, and hide no change."""

_Told = tuple[object, ...]


@dataclass(frozen=True)
class Change:
    """Of a detector's states, noted at `at` (UTC).

    `is_pressing`: there was none for a while before it, and it has not been looked at.
    """

    at: datetime
    is_pressing: bool


def rest(
    trigger_interval: timedelta, looked_at: datetime, change: Change | None, took: timedelta
) -> timedelta:
    """How long a detector rests after a look, at `looked_at` (UTC), that took so long.

    For its trigger interval; not at all while a change of its states is pressing, and for less, but ever
    longer, soon after it.
    """
    if change is None or looked_at - change.at > HURRY:
        return trigger_interval
    if change.is_pressing:
        return timedelta(0)
    return min(trigger_interval, max(QUICKEST, (looked_at - change.at) / PATIENCE, took * BREATHER))


class States:
    """The states of some detectors, for all looks of one process; whoever keeps watch uses it.

    It compares the newest values, and not readings, as a feed may repeat a state each second; so a state that
    is back before the next look has not changed. Newest is what is stamped so, by today's clock: in a replay
    of old telemetry nobody hurries. To lose it, with the process, costs that one change is looked at no
    sooner than the detector's trigger interval says.
    """

    def __init__(self, detectors: Sequence[Detector]) -> None:
        self._detectors = [d for d in detectors if state_items(d) or follows_link(d)]
        self._values: dict[str, float] = {}
        self._told: dict[str, _Told] = {}
        self._changes: dict[str, Change] = {}
        self._took: dict[str, timedelta] = {}

    def observe(self, connection: psycopg.Connection, now: datetime) -> None:
        """Note which states have changed since the last time, at `now` (UTC)."""
        if not self._detectors:
            return
        items = sorted({item for detector in self._detectors for item in state_items(detector)})
        moments = {"items": items, "since": now - REMEMBERED, "until": now + AHEAD}
        # Prepared, it would be planned for any moments: for each day that is stored.
        self._values |= connection.execute(_NEWEST_VALUES, moments, prepare=False).fetchall()
        link = connection.execute(_LINK).fetchone()
        for detector in self._detectors:
            told: _Told = tuple(self._values.get(item) for item in state_items(detector))
            if follows_link(detector):
                told = (*told, link)
            if self._told.setdefault(detector.name, told) != told:
                self._told[detector.name] = told
                last = self._changes.get(detector.name)
                self._changes[detector.name] = Change(now, last is None or now - last.at > CALM)

    def looked(self, detector: Detector, took: timedelta) -> None:
        """Note that the detector has looked, in vain or not, and how long that took."""
        self._took[detector.name] = took
        if (change := self._changes.get(detector.name)) is not None:
            self._changes[detector.name] = replace(change, is_pressing=False)

    def rest(self, detector: Detector, looked_at: datetime) -> timedelta:
        """How long the detector rests after its last look, at `looked_at` (UTC)."""
        took = self._took.get(detector.name, timedelta(0))
        return rest(detector.trigger_interval, looked_at, self._changes.get(detector.name), took)


_NEWEST_VALUES = """
SELECT c.item_id, newest.value
FROM telemetry_channel c, LATERAL (
    SELECT r.value FROM telemetry_reading r
    WHERE r.channel_id = c.channel_id AND r.ts >= %(since)s AND r.ts < %(until)s AND r.value IS NOT NULL
    ORDER BY r.ts DESC LIMIT 1
) AS newest
WHERE c.item_id = ANY(%(items)s)
"""
_LINK = "SELECT max(link_interval_id) FROM link_interval WHERE split_part(source, '/', 1) <> 'replay'"
