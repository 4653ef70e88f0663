"""The facts about PeeBot's database, gathered. Nothing is changed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict

from peebot_dagster.health import Verdict, clocks, gaps, liveness, promptness, rejections
from peebot_dagster.health_facts import clock_tick, link_day
from peebot_dagster.posts.mute import current_mute
from peebot_dagster.store import feed_state
from peebot_live.binding import is_loopback
from peebot_local.doctor.store import PENDING_AFTER, StoreFacts

ROLES = ("peebot_ingest", "peebot_dagster", "peebot_reader")
_CLOCK_TRIES = 3

_SERVER = """
SELECT store_edition(), (SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'),
    current_setting('server_encoding'),
    (SELECT max(newest.ts) FROM telemetry_channel AS channel, LATERAL (
        SELECT reading.ts FROM telemetry_reading AS reading
        WHERE reading.channel_id = channel.channel_id
            AND reading.ts >= (SELECT max(hour) FROM telemetry_revision WHERE readings > 0)
        ORDER BY reading.ts DESC LIMIT 1) AS newest),
    store_edition() <> 'postgresql'
        OR to_regclass('telemetry_reading_' ||
                       to_char(now() AT TIME ZONE 'UTC' + interval '1 day', 'YYYYMMDD')) IS NOT NULL
"""
# What each role cannot do without; all the rest follows from the same call of grant_roles().
_RIGHTS = """
SELECT format('%s: %s on %s', role, privilege, relation)
FROM (VALUES
    ('peebot_ingest', 'INSERT', 'telemetry_reading'), ('peebot_ingest', 'INSERT', 'rejected_reading'),
    ('peebot_ingest', 'UPDATE', 'link_interval'), ('peebot_ingest', 'SELECT', 'telemetry_channel'),
    ('peebot_dagster', 'SELECT', 'telemetry_reading'), ('peebot_dagster', 'INSERT', 'telemetry_minute'),
    ('peebot_dagster', 'UPDATE', 'detected_event'), ('peebot_dagster', 'UPDATE', 'post'),
    ('peebot_reader', 'SELECT', 'telemetry_reading'), ('peebot_reader', 'SELECT', 'detected_event'),
    ('peebot_reader', 'SELECT', 'post'), ('peebot_dagster_reader', 'SELECT', 'alembic_version')
) AS needed (role, privilege, relation)
WHERE EXISTS (SELECT FROM pg_roles WHERE rolname = role)
    AND NOT has_any_column_privilege(role, relation, privilege)
"""
_PENDING = """
SELECT processor, count(*) FROM telemetry_revision AS hours
CROSS JOIN (SELECT 'telemetry_minute' UNION SELECT detector FROM processor_state
            WHERE last_run_at >= %(now)s - interval '1 day') AS processors (processor)
LEFT JOIN processor_revision AS seen USING (processor, hour)
WHERE hour < %(now)s - %(after)s AND hour >= %(now)s - interval '7 days'
    AND hours.revision <> coalesce(seen.revision, 0)
GROUP BY 1
"""


def store_facts(connection: psycopg.Connection, now: datetime) -> StoreFacts:
    """What a database with the schema of this code tells of itself at `now` (UTC)."""
    ahead, error = clock_difference(connection, lambda: datetime.now(UTC))
    ((edition, timescaledb, encoding, newest, tomorrow),) = connection.execute(_SERVER).fetchall()
    roles = {name for (name,) in connection.execute("SELECT rolname FROM pg_roles").fetchall()}
    failed = (
        "SELECT detector, split_part(last_error, E'\\n', 1) FROM processor_state WHERE last_error IS NOT NULL"
    )
    return StoreFacts(
        server=connection.info.server_version // 10000,
        edition=edition,
        timescaledb=timescaledb,
        encoding=encoding,
        clock_ahead=ahead,
        clock_error=error,
        newest=newest,
        missing_roles=[role for role in ROLES if role not in roles],
        missing_rights=[text for (text,) in connection.execute(_RIGHTS).fetchall()],
        tomorrow=tomorrow,
        pending=dict(connection.execute(_PENDING, {"now": now, "after": PENDING_AFTER}).fetchall()),
        detector_errors=dict(connection.execute(failed).fetchall()),
        mute=current_mute(connection, now),
    )


def clock_difference(
    connection: psycopg.Connection, clock: Callable[[], datetime]
) -> tuple[timedelta, timedelta]:
    """How much the server's clock is ahead of `clock`, and how far that may be off: half of the way there."""
    answers = []
    for _ in range(_CLOCK_TRIES):
        asked = clock()
        ((there,),) = connection.execute("SELECT clock_timestamp()").fetchall()
        half = (clock() - asked) / 2
        answers.append((half, there - (asked + half)))
    half, ahead = min(answers)
    return ahead, half


def feed_verdicts(connection: psycopg.Connection, now: datetime) -> list[Verdict]:
    """What Dagster's own checks say of the feed and the clocks at `now` (UTC)."""
    feed, tick = feed_state(connection, now), clock_tick(connection, now)
    return [
        liveness(feed, now),
        promptness(feed, tick, now),
        rejections(feed),
        clocks(feed, tick),
        gaps(link_day(connection, now)),
    ]


def database_folder(connection: psycopg.Connection) -> Path | None:
    """Where a server on this machine keeps its data; None elsewhere, or when it does not tell this user."""
    host = str(conninfo_to_dict(connection.info.dsn).get("host", ""))
    if host and not host.startswith("/") and not is_loopback(host):
        return None
    ((folder,),) = connection.execute("SELECT current_setting('data_directory', true)").fetchall()
    if not folder:
        return None
    path = Path(folder)
    # A loopback address may be that of a container or a tunnel.
    return path if path.exists() else None
