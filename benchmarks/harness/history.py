"""A month for detectors: a simulated station on the channels that they watch, and volume on the others."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import islice

import psycopg

from benchmarks.harness.volume import Simulated, Volume, build, midnight
from ingest_daemon.writer import Writer
from iss_simulator.catalogue import packaged_channels
from iss_simulator.link_stretches import link_stretches
from iss_simulator.station import Station
from peebot_dagster.detectors.registry import DETECTORS
from peebot_dagster.housekeeping import order_chunks
from peebot_local.station_history import SOURCE, read_updates

_SEED = 7
_BATCH = 20_000
_SET_ASIDE = """
CREATE TABLE simulated_reading AS TABLE telemetry_reading;
CREATE INDEX ON simulated_reading (ts);
ANALYZE simulated_reading;
TRUNCATE telemetry_reading, telemetry_revision
"""
_LINK = """
INSERT INTO link_interval (source, state, started_at, last_seen_at, ended_at) VALUES (%s, %s, %s, %s, %s)
"""
_REVISIONS = """
INSERT INTO telemetry_revision (hour, revision, readings)
SELECT hour, %(readings)s, %(readings)s
FROM generate_series(%(start)s::timestamptz, %(end)s - interval '1 hour', interval '1 hour') AS hour
"""


def build_history(
    connection: psycopg.Connection,
    days: float,
    limit_bytes: float,
    rate_per_s: int,
    tell: Callable[[str], None],
    period: timedelta = timedelta(days=3),
) -> Volume:
    """Fill this database (autocommit) with readings, link states and revisions of days that end today.

    The station is simulated for `period`, then its telemetry is repeated: to simulate a month takes an hour.
    """
    start = midnight() - timedelta(days=days)
    period = min(period, timedelta(days=days))
    simulated = Simulated(tuple(sorted({i for d in DETECTORS.values() for i in d.items})), period)
    watched = [channel for channel in packaged_channels() if channel.item in simulated.items]
    station = Station(_SEED, start, watched, rate=1.0 + len(watched))
    count = _simulate(connection, station, start + period, simulated)
    tell(f"{count:,} rows simulated on {len(simulated.items)} channels that are watched, {period} of them")
    volume = build(connection, days, limit_bytes, tell, rate_per_s, simulated)
    connection.execute("DROP TABLE simulated_reading")
    _say_links(connection, station, period, volume)
    readings = {"start": start, "end": volume.end, "readings": 3600 * rate_per_s}
    connection.execute(_REVISIONS, readings)
    tell("putting the days in order, as each night …")
    order_chunks(connection, volume.end + timedelta(hours=2))
    # As autovacuum would have: else the first to read pays for the hint bits of all.
    connection.execute("VACUUM (ANALYZE) telemetry_reading")
    return volume


def _simulate(connection: psycopg.Connection, station: Station, until: datetime, simulated: Simulated) -> int:
    writer = Writer(connection)
    updates = station.updates(until, frozenset(simulated.items))
    stored = 0
    while batch := list(islice(updates, _BATCH)):
        stored += writer.store(*read_updates(batch)).stored
    connection.execute(_SET_ASIDE)
    return stored


def _say_links(connection: psycopg.Connection, station: Station, period: timedelta, volume: Volume) -> None:
    stretches = list(link_stretches(station, volume.start, volume.start + period))
    shift = timedelta(0)
    while volume.start + shift < volume.end:
        for state, began, ended in stretches:
            start, end = began + shift, min(ended + shift, volume.end)
            if start < end:
                connection.execute(_LINK, (SOURCE, state, start, end, end))
        shift += period
