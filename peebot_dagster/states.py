"""When the states that a detector follows at once have last changed. No Dagster; the clock is passed in."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import psycopg

from peebot_dagster.detectors.detector import Detector, follows_link, state_items

REMEMBERED = timedelta(days=1)
"""A state that was not told for so long counts as unknown; what is told then is a change."""

AHEAD = timedelta(minutes=1)
"""Stamps further in the future than clocks differ are wrong, and hide no change."""

_Told = tuple[object, ...]


class States:
    """The states of some detectors, for all looks of one process; whoever keeps watch uses it alone.

    It compares values and not readings, as a feed may repeat a state each second. To lose it, with the
    process, costs that one change is looked at no sooner than the detector's trigger interval says.
    """

    def __init__(self, detectors: Sequence[Detector]) -> None:
        self._detectors = [d for d in detectors if state_items(d) or follows_link(d)]
        self._told: dict[str, _Told] = {}
        self._changed_at: dict[str, datetime] = {}

    def observe(self, connection: psycopg.Connection, now: datetime) -> None:
        """Note which states have changed since the last time, at `now` (UTC)."""
        if not self._detectors:
            return
        items = sorted({item for detector in self._detectors for item in state_items(detector)})
        moments = {"items": items, "since": now - REMEMBERED, "until": now + AHEAD}
        values: dict[str, float] = dict(connection.execute(_NEWEST_VALUES, moments).fetchall())
        link = connection.execute(_LINK).fetchone()
        for detector in self._detectors:
            told: _Told = tuple(values.get(item) for item in state_items(detector))
            if follows_link(detector):
                told = (*told, link)
            if self._told.setdefault(detector.name, told) != told:
                self._told[detector.name] = told
                self._changed_at[detector.name] = now

    def changed_at(self, detector: Detector) -> datetime | None:
        """When a change of the detector's states was last noted (UTC); None: not since the process began."""
        return self._changed_at.get(detector.name)


_NEWEST_VALUES = """
SELECT c.item_id, newest.value
FROM telemetry_channel c, LATERAL (
    SELECT r.value FROM telemetry_reading r
    WHERE r.channel_id = c.channel_id AND r.ts >= %(since)s AND r.ts < %(until)s AND r.value IS NOT NULL
    ORDER BY r.ts DESC LIMIT 1
) AS newest
WHERE c.item_id = ANY(%(items)s)
"""
_LINK = "SELECT source, started_at FROM link_interval ORDER BY started_at DESC, source LIMIT 1"
