"""Both databases into one file and out of it again, with every row."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import sql as pgsql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from rich.console import Console

from peebot_local.backup import backup, restore
from peebot_local.database import create_database, dagster_database, migrate_databases
from peebot_local.display import Steps
from peebot_local.errors import MendableError

if TYPE_CHECKING:
    from conftest import Server

    from peebot_local.embedded_postgres import EmbeddedPostgres

pytestmark = [pytest.mark.every_edition, pytest.mark.slow]

DAY = datetime(2025, 3, 1, tzinfo=UTC)
NOW = datetime(2025, 3, 9, tzinfo=UTC)
STEPS = Steps(Console(quiet=True))


def dagsters(database_url: str) -> str:
    return make_conninfo(database_url, dbname=dagster_database(database_url))


def drop(server: Server, name: str) -> None:
    with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        for database in (name, f"{name}_dagster"):
            statement = pgsql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
            connection.execute(statement.format(pgsql.Identifier(database)))


def checksums(database_url: str) -> dict[str, tuple[int, str | None]]:
    """Of every table its rows and a sum over the text of each."""
    with psycopg.connect(database_url) as connection:
        tables = connection.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"
            " AND relkind IN ('r', 'p') AND NOT relispartition"
        ).fetchall()
        result = {}
        for (table,) in tables:
            query = pgsql.SQL("SELECT count(*), sum(hashtextextended(t::text, 0))::text FROM {} t")
            row = connection.execute(query.format(pgsql.Identifier(table))).fetchone()
            assert row is not None
            result[table] = (row[0], row[1])
        return result


@pytest.fixture
def filled(
    database_url: str, store_server: Server, connection: psycopg.Connection, tmp_path: Path
) -> Iterator[str]:
    """A store with a bit of everything, and Dagster's own database."""
    migrate_databases(database_url, tmp_path / "dagster")
    connection.execute("SELECT create_telemetry_chunks(%s, %s)", (DAY, DAY + timedelta(days=2)))
    connection.execute(
        """
        INSERT INTO telemetry_reading
        SELECT channel, %s + n * interval '7 min', now(), n / 3.0, (n / 3.0)::text, 24, n %% 9 = 0, n
        FROM generate_series(1, 10) channel, generate_series(0, 400) n
        """,
        (DAY,),
    )
    connection.execute(
        "INSERT INTO link_interval (source, state, started_at, last_seen_at)"
        " VALUES ('isslive', 'LIVE', %s, %s)",
        (DAY, DAY + timedelta(hours=5)),
    )
    connection.execute("SELECT refresh_telemetry_minute(%s, %s)", (DAY, DAY + timedelta(hours=6)))
    connection.execute("SELECT drop_old_telemetry('1 day', %s)", (DAY + timedelta(days=2),))
    connection.execute("SELECT order_chunk(%s)", (DAY + timedelta(days=1),))
    connection.execute("SELECT change_setting('raw_retention_days', 99)")
    connection.execute(
        "INSERT INTO rejected_reading (item_id, fields, reason, received_at) VALUES ('X', '{}', 'y', now())"
    )
    connection.commit()
    yield database_url
    with psycopg.connect(store_server.url("postgres"), autocommit=True) as admin:
        name = pgsql.Identifier(dagster_database(database_url))
        admin.execute(pgsql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))


@pytest.fixture
def target(store_server: Server) -> Iterator[str]:
    name = f"restored_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(store_server.url("postgres"), autocommit=True) as admin:
        admin.execute(pgsql.SQL("CREATE DATABASE {} TEMPLATE template0").format(pgsql.Identifier(name)))
    yield store_server.url(name)
    drop(store_server, name)


def test_every_row_of_both_databases_comes_back_and_the_store_works_on(
    filled: str, target: str, tmp_path: Path, login_as: Callable[[str], str]
) -> None:
    file = tmp_path / "peebot.backup"
    before = checksums(filled), checksums(dagsters(filled))
    assert before[0]["telemetry_reading"][0] > 1000
    assert len(before[1]) > 10
    backup(filled, file, NOW, STEPS, with_checksums=True)
    assert file.stat().st_mode & 0o077 == 0
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["peebot.backup"]

    home = tmp_path / "dagster"
    restore(target, home, file, force=False, steps=STEPS)
    assert (checksums(target), checksums(dagsters(target))) == before

    with psycopg.connect(target) as connection:
        store = "SELECT store_edition(), (SELECT count(*) FROM chunks_of('telemetry_reading'))"
        with psycopg.connect(filled) as original:
            assert connection.execute(store).fetchone() == original.execute(store).fetchone()
        later = DAY + timedelta(days=400)
        connection.execute("SELECT create_telemetry_chunks(%s, %s)", (later, later))
        connection.execute(
            "INSERT INTO telemetry_reading VALUES (1, %s, %s, 1, '1', 24, false, 1)", (later, later)
        )
        connection.execute(
            "INSERT INTO rejected_reading (item_id, fields, reason, received_at)"
            " VALUES ('X', '{}', 'y', now())"
        )
    user = conninfo_to_dict(login_as("peebot_reader"))
    with psycopg.connect(make_conninfo(target, user=user["user"], password=user["password"])) as reader:
        assert reader.execute("SELECT count(*) FROM recent('NODE3000005', 10)").fetchone() == (0,)

    # What is there now is not lost by mistake, and is replaced when that is wanted.
    changed = checksums(target)
    with pytest.raises(MendableError, match=r"not empty.*--force"):
        restore(target, home, file, force=False, steps=STEPS)
    assert checksums(target) == changed != before[0]
    restore(target, home, file, force=True, steps=STEPS)
    assert checksums(target) == before[0]


def test_a_backup_replaces_databases_on_a_server_without_a_locale(
    ascii_server: EmbeddedPostgres, tmp_path: Path
) -> None:
    url = ascii_server.url("peebot")
    create_database(ascii_server.url("postgres"), "peebot")
    migrate_databases(url, tmp_path / "dagster")
    with psycopg.connect(url) as connection:
        connection.execute(
            "INSERT INTO rejected_reading (item_id, fields, reason, received_at)"
            " VALUES ('Zoë 🚀', '{}', 'y', now())"
        )
    file = tmp_path / "peebot.backup"
    backup(url, file, NOW, STEPS, with_checksums=True)
    restore(url, tmp_path / "dagster", file, force=True, steps=STEPS)
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT item_id FROM rejected_reading").fetchone() == ("Zoë 🚀",)


def test_a_damaged_backup_is_noticed_before_anything_is_replaced(
    filled: str, target: str, tmp_path: Path
) -> None:
    file = tmp_path / "peebot.backup"
    backup(filled, file, NOW, STEPS)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0xFF
    file.write_bytes(content)
    before = checksums(filled)
    with pytest.raises(MendableError, match="damaged"):
        restore(filled, tmp_path / "dagster", file, force=True, steps=STEPS)
    assert checksums(filled) == before
    for content in (b"", b"something else"):
        file.write_bytes(content)
        with pytest.raises(MendableError, match="no backup"):
            restore(target, tmp_path / "dagster", file, force=False, steps=STEPS)


def test_dagsters_role_reads_and_writes_dagsters_tables_and_owns_none(filled: str) -> None:
    with psycopg.connect(dagsters(filled)) as connection:
        rights = connection.execute(
            "SELECT DISTINCT has_table_privilege('peebot_dagster', quote_ident(tablename), 'SELECT')"
            " AND has_table_privilege('peebot_dagster', quote_ident(tablename), 'INSERT'), tableowner"
            " FROM pg_tables WHERE schemaname = 'public'"
        ).fetchall()
        assert rights == [(True, connection.info.user)]
