"""What only the Community edition of TimescaleDB has: compression, continuous aggregates, jobs.

Background workers are missing in WebAssembly, so the tests run the jobs by hand, as the scheduler would.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from peebot_dagster.housekeeping import order_chunks

pytestmark = [
    pytest.mark.slow,
    pytest.mark.parametrize("store_edition", ["timescaledb-wasm"], indirect=True),
]

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
NOW = datetime.now(UTC)
OLD = NOW.replace(hour=0, minute=0, second=0, microsecond=0) - 10 * DAY
CHANNELS, READINGS = 20, 200

INSERT = """
INSERT INTO telemetry_reading
    (channel_id, ts, received_at, value, raw_value, status_class, is_snapshot, event_id)
VALUES (%s, %s, %s, %s, %s, 24, false, %s) ON CONFLICT DO NOTHING RETURNING ts
"""


@pytest.fixture
def community(connection: psycopg.Connection) -> psycopg.Connection:
    """A store with one day of readings, ten days ago. Each statement is its own transaction."""
    connection.autocommit = True
    connection.execute(
        """
        INSERT INTO telemetry_reading
        SELECT channel, %s + n * interval '5 min', %s, n %% 7, (n %% 7)::text, 24, false, 1000 * channel + n
        FROM generate_series(1, %s) channel, generate_series(0, %s) n
        """,
        (OLD, OLD, CHANNELS, READINGS - 1),
    )
    return connection


def jobs(connection: psycopg.Connection, procedure: str) -> list[int]:
    rows = connection.execute(
        "SELECT job_id FROM timescaledb_information.jobs WHERE proc_name = %s ORDER BY 1", (procedure,)
    )
    return [row[0] for row in rows]


def run(connection: psycopg.Connection, procedure: str) -> None:
    found = jobs(connection, procedure)
    assert found, procedure
    for job in found:
        connection.execute("CALL run_job(%s)", (job,))


def compressed(connection: psycopg.Connection) -> list[bool]:
    rows = connection.execute(
        "SELECT is_compressed FROM timescaledb_information.chunks"
        " WHERE hypertable_name = 'telemetry_reading' ORDER BY range_start"
    )
    return [row[0] for row in rows]


def readings(connection: psycopg.Connection) -> list[tuple[object, ...]]:
    return connection.execute("SELECT * FROM telemetry_reading ORDER BY channel_id, ts, event_id").fetchall()


def test_the_store_knows_that_it_is_the_community_edition(community: psycopg.Connection) -> None:
    assert community.execute("SELECT store_edition()").fetchone() == ("timescaledb-community",)


def test_the_policy_compresses_old_chunks_by_channel_and_every_reading_is_still_there(
    community: psycopg.Connection,
) -> None:
    community.execute(INSERT, (1, NOW, NOW, 1, "1", 1))
    before = readings(community)
    run(community, "policy_compression")
    assert compressed(community) == [True, False]
    assert readings(community) == before
    columns = community.execute(
        "SELECT attname::text, segmentby_column_index, orderby_column_index, orderby_asc"
        " FROM timescaledb_information.compression_settings"
        " WHERE hypertable_name = 'telemetry_reading' ORDER BY 2, 3"
    ).fetchall()
    assert columns == [("channel_id", 1, None, None), ("ts", None, 1, True), ("event_id", None, 2, True)]
    sizes = community.execute(
        "SELECT sum(before_compression_total_bytes), sum(after_compression_total_bytes)"
        " FROM chunk_compression_stats('telemetry_reading')"
    ).fetchone()
    assert sizes is not None
    assert sizes[0] > sizes[1] > 0


def test_late_data_into_a_compressed_chunk_are_stored_once_and_counted(community: psycopg.Connection) -> None:
    run(community, "policy_compression")
    assert compressed(community) == [True]
    late = (3, OLD + timedelta(minutes=7), NOW, 9.5, "9.5", 77)
    stored_before = readings(community)
    known = (3, OLD + timedelta(minutes=5), OLD, 1, "1", 3001)
    assert community.execute(INSERT, known).fetchall() == []
    assert len(community.execute(INSERT, late).fetchall()) == 1
    assert community.execute(INSERT, late).fetchall() == []
    assert len(readings(community)) == len(stored_before) + 1
    window = community.execute(
        "SELECT value FROM telemetry_window('{3}', %s, %s)",
        (OLD + timedelta(minutes=6), OLD + timedelta(minutes=8)),
    )
    assert window.fetchall() == [(1.0,), (9.5,)]
    run(community, "policy_compression")
    assert len(readings(community)) == len(stored_before) + 1


def test_a_compressed_chunk_is_dropped_like_any_other(community: psycopg.Connection) -> None:
    run(community, "policy_compression")
    community.execute("SELECT change_setting('raw_retention_days', 5)")
    run(community, "maintain_store_job")
    assert readings(community) == []
    kept = community.execute("SELECT count(*), min(ts), max(ts) FROM telemetry_last_dropped").fetchone()
    last = OLD + (READINGS - 1) * timedelta(minutes=5)
    assert kept == (CHANNELS, last, last)


def test_a_day_that_is_or_soon_will_be_compressed_is_not_put_in_order_before(
    community: psycopg.Connection,
) -> None:
    def put_in_order() -> tuple[datetime, ...]:
        return order_chunks(community, NOW).ordered

    community.execute(INSERT, (1, OLD + 4 * DAY, OLD, 1, "1", 1))
    assert put_in_order() == (OLD + 4 * DAY,)
    community.execute("SELECT change_setting('compress_after_days', 20)")
    before = readings(community)
    assert put_in_order() == (OLD,)
    assert readings(community) == before
    community.execute("TRUNCATE ordered_chunk")
    community.execute("SELECT change_setting('compress_after_days', 7)")
    run(community, "policy_compression")
    assert compressed(community) == [True, False]
    assert readings(community) == before
    community.execute("SELECT change_setting('compress_after_days', 20)")
    assert put_in_order() == (OLD + 4 * DAY,)


def test_the_compression_setting_takes_effect_at_once(community: psycopg.Connection) -> None:
    community.execute("SELECT change_setting('compress_after_days', 20)")
    run(community, "policy_compression")
    assert compressed(community) == [False]
    community.execute("SELECT change_setting('compress_after_days', 2)")
    assert len(jobs(community, "policy_compression")) == 1
    run(community, "policy_compression")
    assert compressed(community) == [True]


def test_hours_and_days_are_continuous_aggregates_that_take_up_late_minutes(
    community: psycopg.Connection,
) -> None:
    views = community.execute(
        "SELECT view_name::text FROM timescaledb_information.continuous_aggregates ORDER BY 1"
    ).fetchall()
    assert views == [("telemetry_day_aggregate",), ("telemetry_hour_aggregate",)]
    community.execute(
        "INSERT INTO link_interval (source, state, started_at, last_seen_at, ended_at)"
        " VALUES ('isslive', 'LIVE', %(start)s, %(end)s, %(end)s)",
        {"start": OLD, "end": OLD + DAY},
    )
    community.execute("SELECT refresh_telemetry_minute(%s, %s)", (OLD, OLD + 3 * HOUR))
    queries = [
        ("SELECT * FROM telemetry_hour ORDER BY channel_id, hour", HOUR),
        ("SELECT * FROM telemetry_day ORDER BY channel_id, day", DAY),
    ]
    at_once = [community.execute(query).fetchall() for query, _ in queries]
    run(community, "policy_refresh_continuous_aggregate")
    assert [community.execute(query).fetchall() for query, _ in queries] == at_once
    assert len(at_once[0]) == 3 * CHANNELS
    assert len(at_once[1]) == CHANNELS

    community.execute(INSERT, (3, OLD + timedelta(minutes=7), NOW, 95, "95", 77))
    community.execute("SELECT refresh_telemetry_minute(%s, %s)", (OLD, OLD + HOUR))
    run(community, "policy_refresh_continuous_aggregate")
    for query, _ in queries:
        rows = community.execute(query).fetchall()
        assert next(row[5] for row in rows if row[0] == 3) == 95
    by_hand = community.execute("SELECT * FROM hours_of_minutes(%s, %s) ORDER BY 1, 2", (OLD, OLD + DAY))
    assert community.execute(queries[0][0]).fetchall() == by_hand.fetchall()


def test_dropped_minutes_stay_in_hours_and_days_when_the_aggregates_are_refreshed(
    community: psycopg.Connection,
) -> None:
    community.execute("SELECT refresh_telemetry_minute(%s, %s)", (OLD, OLD + 3 * HOUR))
    run(community, "policy_refresh_continuous_aggregate")
    hours = community.execute("SELECT * FROM telemetry_hour ORDER BY channel_id, hour").fetchall()
    assert len(hours) == 3 * CHANNELS
    assert community.execute("SELECT drop_old_minutes('1 day', %s)", (NOW + 10 * DAY,)).fetchone() == (1,)
    for _ in range(2):
        assert community.execute("SELECT * FROM telemetry_hour ORDER BY channel_id, hour").fetchall() == hours
        days = community.execute("SELECT count(*), sum(readings) FROM telemetry_day").fetchone()
        assert days == (CHANNELS, sum(row[7] for row in hours))
        run(community, "policy_refresh_continuous_aggregate")
