"""The doctor on a real database, and with nothing there."""

from __future__ import annotations

import json
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from typer.testing import CliRunner

from peebot_local.cli import app
from peebot_local.database import migrate_databases
from peebot_local.doctor.examination import examine
from peebot_local.doctor.host_facts import _listeners
from peebot_local.doctor.store_facts import clock_difference, store_facts
from sql.schema_version import known_revisions


def levels(environment: dict[str, str]) -> dict[str, str]:
    return {finding.check: finding.level for finding in examine(environment, datetime.now(UTC))}


def test_with_nothing_running_it_says_so_and_exits_with_0(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PEEBOT_HOME", str(tmp_path / "none"))
    monkeypatch.delenv("PEEBOT_DATABASE_URL", raising=False)
    monkeypatch.setenv("PEEBOT_METRICS_PORT", "1")
    result = CliRunner().invoke(app, ["doctor", "--json"])
    found = {finding["check"]: finding for finding in json.loads(result.output)}
    assert found["runner"]["level"] == "warn"
    assert "database" not in found
    assert result.exit_code == 0
    assert not (tmp_path / "none").exists()


def test_a_database_away_fails_without_its_password_being_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PEEBOT_HOME", str(tmp_path))
    monkeypatch.setenv("PEEBOT_DATABASE_URL", "postgresql://someone:hidden@127.0.0.1:1/peebot")
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 1
    assert "FAIL database" in result.output
    assert "hidden" not in result.output


@pytest.mark.slow
def test_a_fresh_database_is_reachable_and_right_and_nothing_beats_yet(
    database_url: str, tmp_path: Path
) -> None:
    environment = {"PEEBOT_HOME": str(tmp_path), "PEEBOT_DATABASE_URL": database_url}
    assert levels(environment)["dagster_database"] == "fail"
    migrate_databases(database_url, tmp_path / "dagster")
    found = levels(environment)
    well = (
        "database",
        "schema",
        "server",
        "database_clock",
        "roles",
        "muted",
        "dagster_schema",
        "failed_ticks",
    )
    assert {found[check] for check in well} == {"ok"}
    assert found["feed_is_live"] == found["dagster_daemon"] == "fail"


def test_a_schema_of_a_later_version_is_told_and_not_read(database_url: str, tmp_path: Path) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.execute("ALTER TABLE posting_mute RENAME TO posting_silence")
    found = levels({"PEEBOT_HOME": str(tmp_path), "PEEBOT_DATABASE_URL": database_url})
    assert found["schema"] == "fail"
    assert "muted" not in found


def test_a_right_that_was_taken_away_is_missed(connection: psycopg.Connection) -> None:
    assert store_facts(connection, datetime.now(UTC)).missing_rights == []
    connection.execute("REVOKE SELECT ON post FROM peebot_reader")
    assert store_facts(connection, datetime.now(UTC)).missing_rights == ["peebot_reader: SELECT on post"]


def test_hours_that_a_processor_has_not_seen_are_counted_once_they_are_old(
    connection: psycopg.Connection,
) -> None:
    now = datetime(2026, 5, 1, 12, tzinfo=UTC)
    for hours in (1, 8, 9):
        connection.execute(
            "INSERT INTO telemetry_revision (hour, revision, readings) VALUES (%s, 1, 1)",
            (now - timedelta(hours=hours),),
        )
    assert store_facts(connection, now).pending == {"telemetry_minute": 2}


def test_the_difference_of_the_clocks_is_measured(connection: psycopg.Connection) -> None:
    slow = timedelta(minutes=7)
    ahead, error = clock_difference(connection, lambda: datetime.now(UTC) - slow)
    assert abs(ahead - slow) <= error + timedelta(seconds=1)


def test_the_known_revisions_end_with_the_schema_of_a_migrated_database(
    connection: psycopg.Connection,
) -> None:
    newest = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    assert newest == (known_revisions()[-1],)


def test_who_listens_is_found_and_only_peebots_own_processes_are_ours() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        listeners = {listener.port: listener for listener in _listeners()}
        assert (listeners[port].host, listeners[port].ours) == ("127.0.0.1", False)
