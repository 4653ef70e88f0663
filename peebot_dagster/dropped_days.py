"""Which events must stay as they are because telemetry they rest on was dropped. No Dagster, no clock."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import psycopg

from peebot_dagster.detectors.detector import Detector
from peebot_dagster.store import hour_of

DAY = timedelta(days=1)


@dataclass(frozen=True)
class Sealed:
    """The dropped days (UTC) and, for what is near one, the hours (UTC) that the detector has processed.

    Missing readings disprove nothing, and what arrives for such a day later is not the whole of it.
    """

    days: tuple[datetime, ...]
    processed: frozenset[datetime]
    look_back: timedelta
    settle: timedelta

    def __contains__(self, started_at: datetime) -> bool:
        """Whether an event that starts then (UTC) can't be judged: neither found, changed nor retracted."""
        if any(day <= started_at < day + DAY for day in self.days):
            return True
        near = any(day - self.settle < started_at < day + DAY + self.look_back for day in self.days)
        # A replay may well go on where a dropped day ended: what was never looked at is detected.
        return near and hour_of(started_at) in self.processed


def sealed(connection: psycopg.Connection, detector: Detector, start: datetime, end: datetime) -> Sealed:
    """What is sealed for the detector in [start, end) (UTC)."""
    days = connection.execute(
        "SELECT day FROM dropped_day WHERE day > %s AND day < %s",
        (start - detector.look_back - DAY, end + detector.settle),
    ).fetchall()
    hours = connection.execute(
        "SELECT hour FROM processor_revision WHERE processor = %s AND hour >= %s AND hour < %s",
        (detector.name, hour_of(start), end),
    ).fetchall()
    return Sealed(
        tuple(day for (day,) in days),
        frozenset(hour for (hour,) in hours),
        detector.look_back,
        detector.settle,
    )
