"""Loads what a simulated station has said into the store, as if a daemon had listened."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import islice

import psycopg

from ingest_daemon.reading import RawUpdate, Reading, Rejection, parse
from ingest_daemon.writer import Writer
from iss_simulator.feed import Update
from iss_simulator.link_stretches import link_stretches
from iss_simulator.station import Station

SOURCE = "simulator"
_BATCH = 20_000


def load_history(
    connection: psycopg.Connection,
    station: Station,
    since: datetime,
    until: datetime,
) -> int:
    """Store the readings and link states of [since, until) (UTC); loading the same again adds nothing.

    Returns the number of readings stored.
    """
    writer = Writer(connection)
    stored = 0
    updates = station.history(until)
    while batch := list(islice(updates, _BATCH)):
        readings, rejections = read_updates(batch)
        stored += writer.store(readings, rejections).stored
    with connection.transaction():
        connection.execute("DELETE FROM link_interval WHERE source = %s AND started_at < %s", (SOURCE, until))
        connection.cursor().executemany(
            "INSERT INTO link_interval (source, state, started_at, last_seen_at, ended_at)"
            " VALUES (%s, %s, %s, %s, %s)",
            [
                (SOURCE, stretch.state, stretch.start, stretch.end, stretch.end)
                for stretch in link_stretches(station, since, until)
            ],
        )
    return stored


def read_updates(updates: Sequence[Update]) -> tuple[list[Reading], list[Rejection]]:
    """What an update is as stored: a reading, or a rejection with its reason."""
    readings: list[Reading] = []
    rejections: list[Rejection] = []
    for update in updates:
        timestamp, value, status_class, indicator, color, calibrated = update.fields()
        parsed = parse(
            RawUpdate(
                update.item,
                timestamp,
                value,
                status_class,
                indicator,
                color,
                calibrated,
                is_snapshot=False,
                received_at=update.ts,
            )
        )
        if isinstance(parsed, Reading):
            readings.append(parsed)
        else:
            rejections.append(parsed)
    return readings, rejections
