"""A dump of TimescaleDB's Community edition and back: compressed chunks, continuous aggregates, policies.

On WebAssembly there is one session and no CREATE DATABASE, and COPY into a table crashes it. So one database
is dumped and loaded by what `peebot backup` and `restore` use for each, its rows written as INSERTs.
"""

from __future__ import annotations

import io
import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import sql as pgsql

from peebot_local.database_dump import dump_database, load_database, restoring_timescaledb
from peebot_local.postgres_programs import find_program
from sql.migrate import migrate

if TYPE_CHECKING:
    from conftest import Server

pytestmark = [
    pytest.mark.slow,
    pytest.mark.parametrize("store_edition", ["timescaledb-wasm"], indirect=True),
]

SERVER_MAJOR = 17
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
OLD = TODAY - 10 * DAY
JOBS = """
SELECT proc_name::text, hypertable_name::text, schedule_interval,
    config - 'mat_hypertable_id' - 'hypertable_id'
FROM timescaledb_information.jobs WHERE job_id >= 1000 ORDER BY 1, 2
"""


def fill(connection: psycopg.Connection) -> None:
    """Two days of readings, one of them compressed, with minutes, aggregates and a setting of the owner's."""
    connection.execute(
        """
        INSERT INTO telemetry_reading
        SELECT channel, start + n * interval '7 min', now(), n / 3.0, (n / 3.0)::text, 24, n %% 9 = 0, n
        FROM unnest(%s::timestamptz[]) start, generate_series(1, 10) channel, generate_series(0, 150) n
        """,
        ([OLD, OLD + 5 * DAY],),
    )
    connection.execute(
        "INSERT INTO link_interval (source, state, started_at, last_seen_at)"
        " VALUES ('isslive', 'LIVE', %s, %s)",
        (OLD, OLD + 6 * DAY),
    )
    connection.execute("SELECT refresh_telemetry_minute(%s, %s)", (OLD, OLD + 5 * HOUR))
    connection.execute("SELECT order_chunk(%s)", (OLD + 5 * DAY,))
    connection.execute("SELECT change_setting('compress_after_days', 6)")
    for procedure in ("policy_compression", "policy_refresh_continuous_aggregate"):
        run(connection, procedure)
    connection.execute(
        "INSERT INTO rejected_reading (item_id, fields, reason, received_at) VALUES ('X', '{}', 'y', now())"
    )


def run(connection: psycopg.Connection, procedure: str) -> None:
    rows = connection.execute(
        "SELECT job_id FROM timescaledb_information.jobs WHERE proc_name = %s", (procedure,)
    ).fetchall()
    assert rows
    for (job,) in rows:
        connection.execute("CALL run_job(%s)", (job,))


def contents(connection: psycopg.Connection) -> dict[str, object]:
    """Of every table and view its rows and a sum over the text of each; the chunks and the jobs."""
    relations = connection.execute(
        "SELECT relname::text FROM pg_class"
        " WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v')"
    ).fetchall()
    found: dict[str, object] = {}
    for (relation,) in relations:
        query = pgsql.SQL("SELECT count(*), sum(hashtextextended(t::text, 0))::text FROM {} t")
        found[relation] = connection.execute(query.format(pgsql.Identifier(relation))).fetchone()
    found["compressed"] = connection.execute(
        "SELECT range_start, is_compressed FROM timescaledb_information.chunks"
        " WHERE hypertable_name = 'telemetry_reading' ORDER BY 1"
    ).fetchall()
    found["jobs"] = connection.execute(JOBS).fetchall()
    return found


def test_a_dump_holds_compressed_chunks_aggregates_and_policies_and_the_store_works_on(
    connection: psycopg.Connection, database_url: str, store_server: Server
) -> None:
    connection.autocommit = True
    fill(connection)
    before = contents(connection)
    assert before["compressed"] == [(OLD, True), (OLD + 5 * DAY, False)]
    assert before["telemetry_hour"] not in (None, (0, None))
    ((version,),) = connection.execute(
        "SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'"
    ).fetchall()
    connection.close()

    # As `peebot backup` does it: COPY out of a table works.
    copied = io.BytesIO()
    dump_database(find_program("pg_dump", SERVER_MAJOR), database_url, copied)
    assert copied.tell() > 10_000
    dump = io.BytesIO()
    dump_database(find_program("pg_dump", SERVER_MAJOR), database_url, dump, "--rows-per-insert=500")

    dump.seek(0)
    target = store_server.url(f"empty_{uuid.uuid4().hex[:12]}")
    with restoring_timescaledb(target, version):
        load_database(find_program("pg_restore", SERVER_MAJOR), target, dump)
    migrate(target)
    with psycopg.connect(target, autocommit=True) as restored:
        restored.execute("SELECT grant_roles()")
        assert contents(restored) == before
        late = (1, OLD + timedelta(minutes=1), TODAY, 1, "1", 77)
        restored.execute(
            "INSERT INTO telemetry_reading VALUES (%s, %s, %s, %s, %s, 24, false, %s) ON CONFLICT DO NOTHING",
            late,
        )
        restored.execute("SELECT change_setting('compress_after_days', 4)")
        run(restored, "policy_compression")
        chunks = contents(restored)["compressed"]
        assert chunks == [(OLD, True), (OLD + 5 * DAY, True)]
        readings = restored.execute("SELECT count(*) FROM telemetry_reading").fetchone()
        assert readings == (2 * 10 * 151 + 1,)
        assert restored.execute("SELECT count(*) FROM recent('NODE3000005', 10)").fetchone() is not None
        run(restored, "policy_refresh_continuous_aggregate")
        run(restored, "maintain_store_job")
