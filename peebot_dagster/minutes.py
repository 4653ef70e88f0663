"""Keeping telemetry_minute in line with the readings. No Dagster, no clock."""

from __future__ import annotations

from datetime import datetime

import psycopg

from peebot_dagster.store import lock_processor, mark_processed, revisions

PROCESSOR = "telemetry_minute"


def refresh_minutes(connection: psycopg.Connection, start: datetime, end: datetime) -> int:
    """Recompute the minutes of [start, end) (UTC) of all channels in one transaction; the rows written."""
    with connection.transaction():
        lock_processor(connection, PROCESSOR)
        seen = revisions(connection, start, end)
        ((rows,),) = connection.execute("SELECT refresh_telemetry_minute(%s, %s)", (start, end)).fetchall()
        mark_processed(connection, PROCESSOR, seen)
    return int(rows)
