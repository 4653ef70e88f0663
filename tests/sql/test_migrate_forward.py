"""From every schema that there has been, with data in it, to the newest one."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import sql as pgsql

from sql.migrate import migrate

if TYPE_CHECKING:
    from conftest import Server

pytestmark = pytest.mark.every_edition

VERSIONS = sorted(path.stem[:4] for path in (Path(__file__).parents[2] / "sql" / "versions").glob("0*.py"))
DAY = datetime(2025, 3, 2, tzinfo=UTC)
HOUR = timedelta(hours=1)
MINUTES = (DAY + 22 * HOUR, DAY + 26 * HOUR)
"""On both sides of a Monday: in two chunks of PostgreSQL."""


@pytest.fixture
def empty_url(store_server: Server) -> Iterator[str]:
    name = f"empty_{uuid.uuid4().hex[:12]}"
    identifier = pgsql.Identifier(name)
    with psycopg.connect(store_server.url("postgres"), autocommit=True) as admin:
        admin.execute(pgsql.SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8'").format(identifier))
        yield store_server.url(name)
        admin.execute(pgsql.SQL("DROP DATABASE {} WITH (FORCE)").format(identifier))


def fill(connection: psycopg.Connection, version: str) -> None:
    """Everything that this version can hold."""
    connection.execute(
        "INSERT INTO link_interval (source, state, started_at, last_seen_at, ended_at)"
        " VALUES ('isslive', 'LIVE', %(start)s, %(end)s, %(end)s)",
        {"start": MINUTES[0], "end": MINUTES[1]},
    )
    connection.execute(
        "INSERT INTO telemetry_revision (hour, revision, readings) VALUES (%s, 2, 2)", (MINUTES[0],)
    )
    connection.execute(
        "INSERT INTO detected_event"
        " VALUES (gen_random_uuid(), 'd', '1', 'visit', 5, %s, NULL, 'open', 1, '{}')",
        (MINUTES[0],),
    )
    if version < "0004":
        for minute in MINUTES:
            connection.execute(
                "INSERT INTO telemetry_minute VALUES (5, %s, 1, 2, 1, 2, 1.5, 1, 60)", (minute,)
            )
    if version < "0002":
        return
    if version >= "0003":
        connection.execute("SELECT create_telemetry_chunks(%s, %s)", MINUTES)
    elif connection.execute("SELECT store_edition()").fetchone() == ("postgresql",):
        connection.execute(
            "CREATE TABLE telemetry_reading_20250302 PARTITION OF telemetry_reading"
            " FOR VALUES FROM ('2025-03-02 00:00+00') TO ('2025-03-03 00:00+00')"
        )
    for event_id, value in ((1, 1.0), (2, 3.0)):
        connection.execute(
            "INSERT INTO telemetry_reading VALUES (5, %s, %s, %s, '', 24, false, %s)",
            (MINUTES[0] + event_id * HOUR / 2, DAY, value, event_id),
        )
    if version >= "0006":
        connection.execute("SELECT create_minute_chunks(%s, %s)", MINUTES)
    if version >= "0004":
        connection.execute("SELECT refresh_telemetry_minute(%s, %s)", MINUTES)


def contents(connection: psycopg.Connection) -> list[object]:
    tables = (
        "telemetry_channel",
        "link_interval",
        "telemetry_revision",
        "telemetry_minute",
        "detected_event",
    )
    found: list[object] = []
    for table in tables:
        query = pgsql.SQL("SELECT t::text FROM {} t ORDER BY 1").format(pgsql.Identifier(table))
        found += [table, connection.execute(query).fetchall()]
    if connection.execute("SELECT to_regclass('telemetry_reading') IS NOT NULL").fetchone() == (True,):
        found += connection.execute("SELECT t::text FROM telemetry_reading t ORDER BY 1").fetchall()
    return found


@pytest.mark.parametrize("version", VERSIONS[:-1])
def test_a_store_of_any_version_comes_forward_with_all_that_is_in_it(empty_url: str, version: str) -> None:
    migrate(empty_url, version)
    with psycopg.connect(empty_url) as connection:
        fill(connection, version)
        before = contents(connection)
    migrate(empty_url)
    with psycopg.connect(empty_url) as connection:
        assert contents(connection) == before
        assert connection.execute("SELECT version_num FROM alembic_version").fetchone() == (VERSIONS[-1],)
        hours = connection.execute("SELECT count(*), sum(live_seconds) FROM telemetry_hour").fetchone()
        minutes = connection.execute("SELECT count(*), sum(live_seconds) FROM telemetry_minute").fetchone()
        assert hours is not None
        assert minutes is not None
        assert minutes[0] > 1
        assert (hours[0] >= 2, hours[1]) == (True, minutes[1])
        covered = connection.execute("SELECT min(starts_at), max(ends_at) FROM chunks_of('telemetry_minute')")
        ((start, end),) = covered.fetchall()
        assert start <= MINUTES[0]
        assert end >= MINUTES[1]


def test_the_newest_schema_is_the_same_from_wherever_one_comes(
    store_server: Server, empty_url: str, connection: psycopg.Connection
) -> None:
    def shape(database: psycopg.Connection) -> list[tuple[object, ...]]:
        return database.execute(
            """
            SELECT c.relname, c.relkind, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
                obj_description(c.oid), col_description(c.oid, a.attnum),
                array(SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = c.oid ORDER BY 1)
            FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
            WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v')
                AND NOT c.relispartition
            ORDER BY 1, 3
            """
        ).fetchall()

    for version in VERSIONS:
        migrate(empty_url, version)
    with psycopg.connect(empty_url) as stepwise:
        assert shape(stepwise) == shape(connection)
