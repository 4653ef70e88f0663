"""What a member of each role may do, and what it may not."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from ingest_daemon.committer import Committer
from ingest_daemon.link import LinkState, Transition
from ingest_daemon.metrics import Metrics
from ingest_daemon.portion import Origin, Portion
from ingest_daemon.reading import Reading
from peebot_dagster.housekeeping import Maintenance, Ordering, maintain_store, order_chunks

pytestmark = pytest.mark.every_edition

DAY = datetime(2025, 3, 1, tzinfo=UTC)
ROLES = ("peebot_ingest", "peebot_reader", "peebot_dagster")
INSERT_READING = (
    "INSERT INTO telemetry_reading VALUES (1, '2025-03-01Z', '2025-03-01Z', 1, '1', 24, false, 0)"
)


def allowed(url: str, statement: str) -> bool:
    with psycopg.connect(url) as connection:
        try:
            connection.execute(statement)
        except psycopg.errors.InsufficientPrivilege:
            return False
        finally:
            connection.rollback()
        return True


@pytest.fixture
def filled(connection: psycopg.Connection) -> None:
    connection.execute("SELECT create_telemetry_chunks(%s, %s)", (DAY, DAY))
    connection.execute("INSERT INTO telemetry_reading VALUES (1, %s, %s, 1, '1', 24, false, 1)", (DAY, DAY))
    connection.execute("SELECT refresh_telemetry_minute(%s, %s)", (DAY, DAY + timedelta(minutes=1)))
    connection.commit()


def test_the_ingest_role_stores_readings_and_neither_changes_nor_deletes_one(
    filled: None, login_as: Callable[[str], str]
) -> None:
    url = login_as("peebot_ingest")
    assert allowed(url, INSERT_READING + " ON CONFLICT DO NOTHING RETURNING ts")
    assert allowed(url, "SELECT version_num FROM alembic_version")
    for forbidden in (
        "UPDATE telemetry_reading SET value = 0",
        "DELETE FROM telemetry_reading",
        "DELETE FROM rejected_reading",
        "DELETE FROM link_interval",
        "UPDATE telemetry_channel SET name = ''",
        "SELECT FROM detected_event",
        "SELECT FROM post",
        "UPDATE alembic_version SET version_num = '9999'",
        "INSERT INTO setting VALUES ('x', 1)",
        "CREATE TABLE own (x integer)",
        "UPDATE link_interval SET state = 'LIVE'",
        "UPDATE link_interval SET started_at = '2020-01-01Z'",
        "UPDATE link_interval SET source = 'x'",
        "UPDATE telemetry_revision SET hour = '2020-01-01Z'",
        "DELETE FROM telemetry_revision",
        "DELETE FROM telemetry_channel",
        "UPDATE rejected_reading SET reason = 'x'",
        "INSERT INTO telemetry_channel VALUES (9999, 'X', 'x', 'x', NULL, 'unknown', NULL, NULL, false)",
        "INSERT INTO telemetry_channel (item_id, name, subsystem, kind, catalogued, description)"
        " VALUES ('X', 'x', 'x', 'unknown', false, 'x')",
        "SELECT create_minute_chunks('2025-03-01Z', '2025-03-01Z')",
        "SELECT maintain_store()",
        "SELECT maintain_store_now()",
        "SELECT drop_old_rejections_now()",
        "SELECT order_chunk('2025-03-01Z')",
        "SELECT order_chunk_now('2025-03-01Z')",
        "DELETE FROM rejected_day",
        "SELECT drop_old_telemetry('1 day')",
        "SELECT change_setting('raw_retention_days', 1)",
    ):
        assert not allowed(url, forbidden), forbidden


def test_the_ingest_role_may_what_the_threat_model_accepts_beyond_that(
    filled: None, login_as: Callable[[str], str]
) -> None:
    url = login_as("peebot_ingest")
    for accepted in (
        "SELECT * FROM telemetry_reading",
        "SELECT * FROM rejected_reading",
        "INSERT INTO telemetry_channel (item_id, name, subsystem, kind, catalogued)"
        " VALUES ('X', 'x', 'unknown', 'unknown', false)",
        "UPDATE link_interval SET last_seen_at = now(), ended_at = now()",
        "UPDATE telemetry_revision SET revision = 0, readings = 0",
    ):
        assert allowed(url, accepted), accepted


def chunk_is_made(url: str, *days: int) -> bool:
    """Whether chunks from the first to the last of these days (0: today) are made for this login."""
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    first, last = (today + timedelta(days=day) for day in (days[0], days[-1]))
    with psycopg.connect(url) as connection:
        try:
            connection.execute("SELECT create_telemetry_chunks(%s, %s)", (first, last))
        except psycopg.errors.CheckViolation:
            return False
    return True


def test_the_ingest_role_has_chunks_made_for_what_the_feed_can_send_and_not_for_a_century(
    login_as: Callable[[str], str], connection: psycopg.Connection
) -> None:
    url = login_as("peebot_ingest")
    assert chunk_is_made(url, -399)
    assert chunk_is_made(url, -2, 2)
    made = connection.execute("SELECT chunk FROM chunks_of('telemetry_reading')").fetchall()
    for days in ((-402,), (4,), (-36500, 0), (0, 36500), (-36500, 36500)):
        assert not chunk_is_made(url, *days), days
    with psycopg.connect(url) as ingest, pytest.raises(psycopg.errors.CheckViolation):
        ingest.execute("SELECT create_telemetry_chunks('-infinity', 'infinity')")
    connection.rollback()
    assert connection.execute("SELECT chunk FROM chunks_of('telemetry_reading')").fetchall() == made


def test_the_owner_and_its_members_have_chunks_made_for_recordings_of_any_age(
    database_url: str, login_as: Callable[[str], str], connection: psycopg.Connection
) -> None:
    for url in (database_url, login_as(connection.info.user)):
        assert chunk_is_made(url, -3650)
        assert chunk_is_made(url, 3650)


def test_a_reading_of_a_day_beyond_the_ingest_roles_reach_is_rejected_and_holds_up_no_other(
    login_as: Callable[[str], str], connection: psycopg.Connection
) -> None:
    now = datetime.now(UTC)
    readings = [
        Reading("NODE3000005", now - timedelta(days=age), now, 1.0, "1", 24, False, age)
        for age in (0, 500, 1)
    ]
    committer = Committer(login_as("peebot_ingest"), Metrics())
    assert committer.commit(Portion(Origin("run", "isslive", continues=False), readings)).stored == 2
    committer.close()
    rejected = connection.execute("SELECT reason, fields ->> 'ts' FROM rejected_reading").fetchall()
    assert rejected == [("database_refused", readings[1].ts.isoformat())]


def test_the_ingest_role_records_the_link(
    login_as: Callable[[str], str], connection: psycopg.Connection
) -> None:
    now = datetime.now(UTC)
    committer = Committer(login_as("peebot_ingest"), Metrics())
    for second, state in enumerate((LinkState.LIVE, LinkState.LOS, LinkState.LIVE)):
        transition = Transition(state, now + timedelta(seconds=2 * second))
        seen_at = transition.at + timedelta(seconds=1)
        committer.commit(
            Portion(Origin("run", "isslive", continues=second > 0), transition=transition, seen_at=seen_at)
        )
    committer.close()
    states = connection.execute("SELECT state, ended_at IS NULL FROM link_interval ORDER BY started_at")
    assert states.fetchall() == [("LIVE", False), ("LOS", False), ("LIVE", True)]
    assert connection.execute("SELECT sum(revision) > 2 FROM telemetry_revision").fetchone() == (True,)


def test_the_reader_reads_everything_and_changes_nothing(
    filled: None, login_as: Callable[[str], str], connection: psycopg.Connection
) -> None:
    url = login_as("peebot_reader")
    tables = connection.execute(
        "SELECT relname, relkind = 'v' FROM pg_class WHERE relnamespace = current_schema()::regnamespace"
        " AND relkind IN ('r', 'p', 'v') AND NOT relispartition"
    ).fetchall()
    assert len(tables) > 15
    for table, is_view in tables:
        assert allowed(url, f"SELECT * FROM {table}"), table  # noqa: S608  names from the catalogue
        assert is_view or not allowed(url, f"DELETE FROM {table}"), table  # noqa: S608
    assert allowed(url, "SELECT * FROM recent('NODE3000005', 10)")
    assert allowed(url, "SELECT * FROM live_intervals('2025-03-01Z', '2025-03-02Z')")
    assert allowed(url, "SELECT * FROM link('2025-03-01Z', '2025-03-02Z')")
    for forbidden in (
        INSERT_READING,
        "SELECT create_telemetry_chunks('2030-01-01Z', '2030-01-01Z')",
        "SELECT create_minute_chunks('2030-01-01Z', '2030-01-01Z')",
        "SELECT maintain_store()",
        "SELECT maintain_store_now()",
        "SELECT drop_old_rejections_now()",
        "SELECT order_chunk('2025-03-01Z')",
        "SELECT order_chunk_now('2025-03-01Z')",
        "SELECT drop_old_telemetry('1 day')",
        "SELECT drop_old_minutes('1 day')",
        "SELECT change_setting('raw_retention_days', 1)",
        "SELECT refresh_telemetry_minute('2025-03-01Z', '2025-03-02Z')",
    ):
        assert not allowed(url, forbidden), forbidden


def test_dagsters_role_computes_minutes_and_keeps_house_but_leaves_readings_alone(
    filled: None, login_as: Callable[[str], str], connection: psycopg.Connection
) -> None:
    connection.execute(
        "INSERT INTO rejected_reading (item_id, fields, reason, received_at) VALUES ('X', '{}', 'y', %s)",
        (DAY,),
    )
    connection.commit()
    url = login_as("peebot_dagster")
    with psycopg.connect(url) as dagster:
        dagster.execute("SELECT refresh_telemetry_minute(%s, %s)", (DAY, DAY + timedelta(days=8)))
        assert dagster.execute("SELECT count(*) FROM telemetry_minute").fetchone() == (1,)
        assert dagster.execute("SELECT order_chunk_now(%s)", (DAY,)).fetchone() == (True,)
        dagster.commit()
        assert maintain_store(dagster) == Maintenance(1, 0, 1)
        assert order_chunks(dagster) == Ordering((), {})
    assert connection.execute("SELECT count(*) FROM telemetry_reading").fetchone() == (0,)
    for forbidden in (
        INSERT_READING,
        "DELETE FROM telemetry_reading",
        "DELETE FROM link_interval",
        "UPDATE setting SET value = 1",
        # By a clock of their own nothing would be left.
        "SELECT maintain_store('2100-01-01Z', '0')",
        "SELECT maintain_store()",
        "SELECT drop_old_rejections('0', '2100-01-01Z')",
        "SELECT order_chunk('2025-03-01Z', '2100-01-01Z')",
        "SELECT order_chunk('2025-03-01Z')",
        "SELECT create_telemetry_chunks('2030-01-01Z', '2030-01-01Z')",
    ):
        assert not allowed(url, forbidden), forbidden


def test_nobody_can_slip_a_table_of_their_own_under_what_runs_with_the_owners_rights(
    login_as: Callable[[str], str], connection: psycopg.Connection
) -> None:
    kept = datetime.now(UTC) - timedelta(days=20)
    connection.execute("SELECT create_telemetry_chunks(%s, %s)", (kept, kept))
    connection.execute("INSERT INTO telemetry_reading VALUES (1, %s, %s, 1, '1', 24, false, 1)", (kept, kept))
    connection.execute(
        "INSERT INTO rejected_reading (item_id, fields, reason, received_at) VALUES ('X', '{}', 'y', %s)",
        (kept,),
    )
    connection.commit()
    with psycopg.connect(login_as("peebot_dagster")) as dagster:
        # Were it taken for the real one, everything would be dropped.
        dagster.execute("CREATE TEMPORARY TABLE setting (key text, value integer)")
        dagster.execute(
            "INSERT INTO setting VALUES ('raw_retention_days', 1), ('minute_retention_days', 1),"
            " ('rejected_retention_days', 1)"
        )
        dagster.execute("SET search_path = pg_temp, public")
        assert dagster.execute("SELECT public.drop_old_rejections_now()").fetchone() == (0,)
        dropped = dagster.execute("SELECT * FROM public.maintain_store_now()").fetchone()
    assert dropped == (0, 0, 0)
    definers = connection.execute(
        "SELECT proname FROM pg_proc WHERE prosecdef AND pronamespace = current_schema()::regnamespace"
        " AND NOT EXISTS (SELECT FROM unnest(proconfig) c WHERE c LIKE 'search_path=%pg_temp')"
    ).fetchall()
    assert definers == []
