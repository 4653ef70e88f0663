"""From every schema that there has been, with data in every table of it, to the newest one."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg import sql as pgsql
from psycopg.types.json import Jsonb

from sql.migrate import migrate
from tests.conftest import WASM

if TYPE_CHECKING:
    from tests.conftest import Server

pytestmark = pytest.mark.every_edition

VERSIONS = sorted(path.stem[:4] for path in (Path(__file__).parents[2] / "sql" / "versions").glob("0*.py"))
DAY = datetime(2025, 3, 2, tzinfo=UTC)
HOUR = timedelta(hours=1)
MINUTES = (DAY + 22 * HOUR, DAY + 26 * HOUR)
"""On both sides of a Monday: in two chunks of PostgreSQL."""
LONG_AGO = datetime(2023, 5, 1, tzinfo=UTC)
EVENT = "00000000-0000-4000-8000-000000000001"

Row = dict[str, Any]
Contents = dict[str, list[Row]]

# A row knows each column that its table has ever had: a version takes those that it has.
HOUR_OF_VALUES: Row = {
    "channel_id": 5, "first_value": 1, "last_value": 2, "min_value": 1, "max_value": 2, "mean_value": 1.5,
    "readings": 1, "live_seconds": 60,
}  # fmt: skip
ROWS: dict[str, Row] = {
    "telemetry_channel": {
        "channel_id": 10001, "item_id": "OWN", "name": "own", "subsystem": "unknown", "unit": "%",
        "kind": "state", "states": {"1": "OPEN"}, "description": "Seen on the feed.", "catalogued": False,
    },
    "rejected_reading": {
        "item_id": "OWN", "fields": {"Value": None, "suppressed": 7}, "reason": "value_missing",
        "received_at": DAY,
    },
    "link_interval": {
        "source": "isslive", "state": "LIVE", "started_at": MINUTES[0], "last_seen_at": MINUTES[1],
        "ended_at": MINUTES[1],
    },
    "telemetry_revision": {"hour": MINUTES[0], "revision": 3, "readings": 2, "updated_at": DAY},
    "processor_revision": {"processor": "urine_tank", "hour": MINUTES[0], "revision": 2},
    "detected_event": {
        "event_id": EVENT, "detector": "urine_tank", "detector_version": "1", "event_type": "toilet_visit",
        "channel_id": 5, "started_at": MINUTES[0], "ended_at": MINUTES[1], "state": "open", "confidence": 0.5,
        "payload": {"rise": 2}, "detected_at": DAY, "updated_at": DAY,
    },
    "processor_state": {
        "detector": "urine_tank", "version": "1", "watermark": MINUTES[1], "last_run_at": MINUTES[1],
        "last_error": "none",
    },
    "post": {
        "event_id": EVENT, "platform": "dry_run", "state": "dry_run", "text": "Whoosh", "template": "t1",
        "external_id": "17", "attempts": 1, "reason": "muted", "link": "https://example.org/17",
        "resume_at": DAY, "created_at": DAY, "updated_at": DAY,
    },
    "setting": {"key": "own_days", "value": 12, "updated_at": DAY},
    "dropped_day": {"day": LONG_AGO, "minutes_dropped": True, "dropped_at": DAY},
    "telemetry_hour_kept": HOUR_OF_VALUES | {"hour": LONG_AGO},
    "telemetry_last_dropped": {
        "channel_id": 6, "ts": LONG_AGO, "received_at": LONG_AGO, "value": 2.5, "status_class": 24,
        "event_id": 9,
    },
    "posting_mute": {"muted_at": DAY, "muted_until": DAY + HOUR},
    "detector_look": {
        "detector": "urine_tank", "hour": MINUTES[0], "revision": 3, "own_revision": 2, "looked_at": DAY,
        "news_at": DAY,
    },
    "ordered_chunk": {"starts_at": DAY, "readings": 2, "ordered_at": DAY},
    "alert_condition": {
        "condition": "feed_down", "title": "down", "advice": "look", "ending": "up", "began_at": DAY,
        "due_at": DAY, "over_at": DAY + HOUR,
    },
    "alert_told": {"condition": "feed_down", "destination": "1 mailtos #3f9a", "told_at": DAY},
    "alert_destination": {
        "destination": "1 mailtos #3f9a", "claimed_until": DAY, "failures": 1, "retry_at": DAY,
        "last_failure": "refused",
    },
}  # fmt: skip
ALSO = {"post": {"platform": "x", "reason": None}}
"""A second row, where a migration takes it for something else than the first."""
COMPUTED = {"telemetry_minute", "telemetry_reading", "rejected_day", "alembic_version"}
"""Filled by functions and triggers, or by hand."""


@pytest.fixture
def empty_url(store_edition: str, store_server: Server) -> Iterator[str]:
    name = f"empty_{uuid.uuid4().hex[:12]}"
    if store_edition == WASM:
        yield store_server.url(name)
        return
    identifier = pgsql.Identifier(name)
    with psycopg.connect(store_server.url("postgres"), autocommit=True) as admin:
        admin.execute(pgsql.SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8'").format(identifier))
        yield store_server.url(name)
        admin.execute(pgsql.SQL("DROP DATABASE {} WITH (FORCE)").format(identifier))


def tables(connection: psycopg.Connection) -> list[str]:
    rows = connection.execute(
        "SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace"
        " AND relkind IN ('r', 'p') AND NOT relispartition ORDER BY oid"
    )
    return [row[0] for row in rows]


def insert(connection: psycopg.Connection, table: str, row: Row) -> None:
    values = {name: x.isoformat() if isinstance(x, datetime) else x for name, x in row.items()}
    name = pgsql.Identifier(table)
    connection.execute(
        # Who is numbered by the database stays so.
        pgsql.SQL(
            "INSERT INTO {} OVERRIDING USER VALUE SELECT * FROM jsonb_populate_record(NULL::{}, %s)"
        ).format(name, name),
        (Jsonb(values),),
    )


def fill(connection: psycopg.Connection, version: str) -> None:
    """At least one row without any NULL into everything that this version has."""
    for table in tables(connection):
        if table not in COMPUTED:
            insert(connection, table, ROWS[table])
            if table in ALSO:
                insert(connection, table, ROWS[table] | ALSO[table])
    if version < "0004":
        for minute in MINUTES:
            insert(connection, "telemetry_minute", HOUR_OF_VALUES | {"minute": minute})
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


def run_policies(url: str) -> None:
    """What the scheduler of the Community edition has done after a while: compressed, and rolled up."""
    with psycopg.connect(url, autocommit=True) as connection:
        jobs = connection.execute(
            "SELECT job_id FROM timescaledb_information.jobs WHERE proc_name LIKE 'policy%' ORDER BY 1"
        ).fetchall()
        for job in jobs:
            connection.execute("CALL run_job(%s)", job)


def compressed_chunks(connection: psycopg.Connection) -> int:
    rows = connection.execute(
        "SELECT FROM timescaledb_information.chunks"
        " WHERE hypertable_name = 'telemetry_reading' AND is_compressed"
    )
    return len(rows.fetchall())


def contents(connection: psycopg.Connection) -> Contents:
    found: Contents = {}
    for table in tables(connection):
        query = pgsql.SQL("SELECT to_jsonb(t) FROM {} t ORDER BY t::text").format(pgsql.Identifier(table))
        found[table] = [row for (row,) in connection.execute(query).fetchall()]
    return found


def has_row_without_null(connection: psycopg.Connection, table: str) -> bool:
    query = pgsql.SQL("SELECT FROM {} t WHERE t IS NOT NULL").format(pgsql.Identifier(table))
    return connection.execute(query).fetchone() is not None


def meant(before: Contents, version: str) -> Contents:
    """What the migrations after this version are meant to make of it: all as it was, but for this."""
    after = dict(before, alembic_version=[{"version_num": VERSIONS[-1]}])
    for table in ROWS.keys() - before.keys():
        after[table] = []
    if version < "0005":
        after["setting"] = [
            {"key": "compress_after_days", "value": 7},
            {"key": "minute_retention_days", "value": 730},
            {"key": "raw_retention_days", "value": 30},
        ]
    if version < "0013":
        after["post"] = [
            row | {"link": None, "resume_at": None, "reason": row["reason"] or "dry_run"}
            for row in before["post"]
        ]
    if version < "0016":
        after["setting"] = [*after["setting"], {"key": "rejected_retention_days", "value": 30}]
        after["rejected_day"] = [{"day": "2025-03-02T00:00:00+00:00", "stored": 1, "updates": 7}]
    if version < "0025":
        looks = after.get("detector_look", [])
        after["detector_look"] = [look | {"news_at": look["looked_at"]} for look in looks]
    after.setdefault("telemetry_reading", [])
    return after


def without_times_of_defaults(found: Contents) -> Contents:
    """Without when the settings that come with the schema came."""
    settings = [
        row if row["key"] == ROWS["setting"]["key"] else {"key": row["key"], "value": row["value"]}
        for row in found.get("setting", [])
    ]
    return found | ({"setting": sorted(settings, key=lambda row: str(row["key"]))} if settings else {})


@pytest.mark.every_edition(one_connection=True)
@pytest.mark.parametrize("version", VERSIONS[:-1])
def test_a_store_of_any_version_comes_forward_with_all_that_is_in_it(
    empty_url: str, version: str, store_edition: str
) -> None:
    migrate(empty_url, version)
    with psycopg.connect(empty_url, options="-c timezone=UTC") as connection:
        fill(connection, version)
        assert [t for t in tables(connection) if not has_row_without_null(connection, t)] == []
    if store_edition == WASM and version >= "0002":
        run_policies(empty_url)
    with psycopg.connect(empty_url, options="-c timezone=UTC") as connection:
        before = contents(connection)
        if store_edition == WASM and version >= "0007":
            assert compressed_chunks(connection) == 1
    migrate(empty_url)
    with psycopg.connect(empty_url, options="-c timezone=UTC") as connection:
        after = contents(connection)
        assert without_times_of_defaults(after) == without_times_of_defaults(meant(before, version))
        hours = connection.execute(
            "SELECT count(*), sum(live_seconds) FROM telemetry_hour WHERE hour >= %s", MINUTES[:1]
        ).fetchone()
        minutes = connection.execute("SELECT count(*), sum(live_seconds) FROM telemetry_minute").fetchone()
        assert hours is not None
        assert minutes is not None
        assert minutes[0] > 1
        assert (hours[0] >= 2, hours[1]) == (True, minutes[1])
        covered = connection.execute("SELECT min(starts_at), max(ends_at) FROM chunks_of('telemetry_minute')")
        ((start, end),) = covered.fetchall()
        assert start <= MINUTES[0]
        assert end >= MINUTES[1]
        if store_edition == WASM and version >= "0007":
            assert compressed_chunks(connection) == 1


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
