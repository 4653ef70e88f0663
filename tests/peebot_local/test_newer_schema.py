"""An older PeeBot on a database that a newer one has migrated: it refuses in one line, and can go back."""

from __future__ import annotations

import zipfile
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from psycopg import sql as pgsql
from psycopg.conninfo import make_conninfo
from rich.console import Console
from typer.testing import CliRunner

from peebot_local.backup import Manifest, backup, restore
from peebot_local.cli import app
from peebot_local.database import dagster_database, migrate_databases, require_known_schema
from peebot_local.display import Steps
from peebot_local.errors import MendableError

NEWER = "9999"


@pytest.fixture
def newer(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A database as a later version of PeeBot leaves it."""
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE alembic_version SET version_num = %s", (NEWER,))
    monkeypatch.setenv("PEEBOT_HOME", str(tmp_path))
    monkeypatch.setenv("PEEBOT_DATABASE_URL", database_url)
    return database_url


COMMANDS = [
    ["migrate"],
    ["status"],
    ["env"],
    ["ingest"],
    ["live"],
    ["mute"],
    ["retention"],
    ["detect", "urine_tank", "--from", "2025-01-01", "--to", "2025-01-02"],
    ["serve", "ingest"],
    ["serve", "code-server"],
    ["serve", "live"],
]


def test_what_opens_the_store_refuses_a_newer_schema_and_says_what_to_do(
    newer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def started(*_: object) -> None:
        raise AssertionError("it was started")

    monkeypatch.setattr("os.execve", started)
    monkeypatch.setattr("peebot_local.commands.running._run_in_front", started)
    told = {" ".join(command): CliRunner().invoke(app, command).exception for command in COMMANDS}
    assert {type(error) for error in told.values()} == {MendableError}
    for command, error in told.items():
        assert "\n" not in str(error), command
        assert "newer" in str(error), command
        assert "./peebot restore FILE --force" in str(error), command


def test_up_refuses_a_newer_schema_before_it_starts_anything(newer: str, tmp_path: Path) -> None:
    with pytest.raises(MendableError, match="newer"):
        migrate_databases(newer, tmp_path / "dagster")
    with psycopg.connect(newer) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchone() == (NEWER,)


def test_a_database_that_is_away_is_waited_for_and_not_judged() -> None:
    require_known_schema("postgresql://nobody@127.0.0.1:1/peebot")


def test_a_backup_of_a_newer_version_is_refused_before_anything_is_replaced(
    database_url: str, tmp_path: Path
) -> None:
    file = tmp_path / "peebot.backup"
    manifest = Manifest(
        made_at=datetime(2026, 5, 1, tzinfo=UTC),
        server_major=17,
        timescaledb=None,
        databases=("peebot",),
        revision=NEWER,
    )
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("manifest.json", manifest.model_dump_json())
    with pytest.raises(MendableError, match=NEWER):
        restore(database_url, tmp_path, file, True, Steps(Console(quiet=True)))
    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT count(*) > 0 FROM telemetry_channel").fetchone() == (True,)


@pytest.mark.slow
@pytest.mark.every_edition
def test_after_an_upgrade_the_backup_made_before_it_brings_the_old_version_back(
    database_url: str, connection: psycopg.Connection, tmp_path: Path
) -> None:
    steps, file, home = Steps(Console(quiet=True)), tmp_path / "before.backup", tmp_path / "dagster"
    connection.execute("SELECT change_setting('raw_retention_days', 77)")
    connection.commit()
    connection.close()
    backup(database_url, file, datetime(2026, 5, 1, tzinfo=UTC), steps)
    with psycopg.connect(database_url) as upgrade:
        upgrade.execute("ALTER TABLE posting_mute RENAME TO posting_silence")
        upgrade.execute("ALTER TABLE setting ADD COLUMN told_by text NOT NULL DEFAULT 'somebody'")
        upgrade.execute("UPDATE alembic_version SET version_num = %s", (NEWER,))
    with pytest.raises(MendableError, match="restore the backup made before the upgrade"):
        require_known_schema(database_url)
    restore(database_url, home, file, True, steps)
    require_known_schema(database_url)
    with psycopg.connect(database_url) as back:
        assert back.execute("SELECT value FROM setting WHERE key = 'raw_retention_days'").fetchone() == (77,)
        assert back.execute("SELECT count(*) FROM posting_mute").fetchone() == (0,)
    with psycopg.connect(make_conninfo(database_url, dbname="postgres"), autocommit=True) as admin:
        dagsters = pgsql.Identifier(dagster_database(database_url))
        admin.execute(pgsql.SQL("DROP DATABASE {} WITH (FORCE)").format(dagsters))
