"""Sums over every table, and a restore on another server that is compared by them."""

from __future__ import annotations

import json
import shutil
import signal
import tempfile
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path

import psycopg
import pytest
from psycopg import sql as pgsql
from psycopg.conninfo import make_conninfo
from rich.console import Console

from peebot_local import backup as backup_module
from peebot_local.backup import backup, restore
from peebot_local.checksums import TableSum, checksums, differences
from peebot_local.database import create_database, dagster_database, migrate_databases
from peebot_local.display import Steps
from peebot_local.embedded_postgres import EmbeddedPostgres
from peebot_local.errors import MendableError

NOW = datetime(2026, 5, 1, tzinfo=UTC)
REJECTED = "INSERT INTO rejected_reading (item_id, fields, reason, received_at) VALUES (%s, '{}', 'y', %s)"


def sums(url: str, options: str = "") -> dict[str, TableSum]:
    with psycopg.connect(url, options=options) as connection:
        return checksums(connection)


def test_order_and_the_settings_of_a_session_do_not_matter_and_a_single_value_does(
    database_url: str,
) -> None:
    def rejected(*items: str) -> TableSum:
        with psycopg.connect(database_url) as connection:
            connection.execute("TRUNCATE rejected_reading RESTART IDENTITY CASCADE")
            for item in items:
                connection.execute(REJECTED, (item, NOW))
            return checksums(connection)["rejected_reading"]

    one = rejected("A", "B")
    assert one.rows == 2
    assert rejected("A", "C") != one
    assert rejected("A") != one
    rejected("A", "B")
    elsewhere = "-c TimeZone=Asia/Tokyo -c DateStyle=German -c extra_float_digits=0"
    assert sums(database_url, elsewhere) == sums(database_url)
    assert len(sums(database_url)) > 15


def test_what_differs_is_named() -> None:
    two, three = TableSum(rows=2, hashes="5"), TableSum(rows=3, hashes="5")
    other = TableSum(rows=2, hashes="6")
    assert differences({"a": two}, {"a": two}) == []
    assert differences({"a": two}, {"a": three}) == ["a: 2 rows in the backup, 3 here"]
    assert differences({"a": two}, {"a": other}) == ["a: other contents"]
    assert differences({"a": two}, {"b": two}) == ["a: only in the backup", "b: not in the backup"]


@pytest.fixture
def other_server() -> Iterator[EmbeddedPostgres]:
    root = Path(tempfile.mkdtemp(prefix="peebot-other-"))
    server = EmbeddedPostgres(root)
    process = server.start(root / "log")
    try:
        server.wait_until_ready(process)
        create_database(server.url("postgres"), "moved")
        yield server
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=30)
        shutil.rmtree(root)


@pytest.mark.slow
def test_another_server_has_the_same_in_every_table_although_the_daemon_wrote_on_meanwhile(
    database_url: str, other_server: EmbeddedPostgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrate_databases(database_url, tmp_path / "dagster")
    with psycopg.connect(database_url) as connection:
        connection.execute(REJECTED, ("BEFORE", NOW))
    dump = backup_module.dump_database

    def dump_beside_a_writer(program: Path, url: str, sink: object, *options: str) -> None:
        if dagster_database(database_url) not in url:
            with psycopg.connect(database_url) as connection:
                connection.execute(REJECTED, ("MEANWHILE", NOW))
        dump(program, url, sink, *options)  # type: ignore[arg-type]

    monkeypatch.setattr(backup_module, "dump_database", dump_beside_a_writer)
    file, told = tmp_path / "peebot.backup", StringIO()
    backup(database_url, file, NOW, Steps(Console(quiet=True)), with_checksums=True)
    target = other_server.url("moved")
    restore(target, tmp_path / "other", file, False, Steps(Console(file=told, width=200)))
    assert told.getvalue().count("are as they were saved") == 2
    with psycopg.connect(database_url) as here, psycopg.connect(target) as there:
        rejected = "SELECT array_agg(item_id ORDER BY item_id) FROM rejected_reading"
        assert here.execute(rejected).fetchone() == (["BEFORE", "MEANWHILE"],)
        assert there.execute(rejected).fetchone() == (["BEFORE"],)
        here.execute("DELETE FROM rejected_reading WHERE item_id = 'MEANWHILE'")
        assert differences(checksums(here), checksums(there)) == []

    forged = tmp_path / "forged.backup"
    with zipfile.ZipFile(file) as archive, zipfile.ZipFile(forged, "w") as copy:
        for member in archive.namelist():
            content = archive.read(member)
            if member == "manifest.json":
                manifest = json.loads(content)
                manifest["checksums"]["peebot"]["setting"]["hashes"] = "1"
                content = json.dumps(manifest).encode()
            copy.writestr(member, content)
    with pytest.raises(MendableError, match="not what was saved") as raised:
        restore(target, tmp_path / "other", forged, True, Steps(Console(quiet=True)))
    assert raised.value.details == ("setting: other contents",)
    with psycopg.connect(make_conninfo(database_url, dbname="postgres"), autocommit=True) as admin:
        dagsters = pgsql.Identifier(dagster_database(database_url))
        admin.execute(pgsql.SQL("DROP DATABASE {} WITH (FORCE)").format(dagsters))
