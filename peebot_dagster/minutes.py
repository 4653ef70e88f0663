"""Keeping telemetry_minute in line with the readings. No Dagster, no clock."""

from __future__ import annotations

from datetime import datetime, timedelta

import psycopg

from peebot_dagster.store import mark_processed, revisions

PROCESSOR = "telemetry_minute"


def refresh_minutes(connection: psycopg.Connection, start: datetime, end: datetime) -> int:
    """Recompute the minutes of [start, end) (UTC) of all channels in one transaction; the rows written.

    Whoever computes one of these days at the same time is waited for.
    """
    with connection.transaction():
        connection.execute("SELECT prepare_minutes(%s, %s)", (start, end - timedelta(minutes=1)))
    with connection.transaction():
        connection.execute("SELECT lock_telemetry_minute(%s, %s)", (start, end))
        seen = revisions(connection, start, end)
        ((rows,),) = connection.execute("SELECT refresh_telemetry_minute(%s, %s)", (start, end)).fetchall()
        mark_processed(connection, PROCESSOR, seen)
    return int(rows)
