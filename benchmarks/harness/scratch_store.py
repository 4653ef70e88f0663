"""Databases that exist for one measurement only, on PEEBOT_DATABASE_URL's server or on an embedded one."""

from __future__ import annotations

import shutil
import signal
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg import sql as pgsql
from psycopg.conninfo import make_conninfo

from peebot_local.database import describe, mendable
from peebot_local.embedded_postgres import EmbeddedPostgres
from peebot_local.errors import MendableError
from peebot_local.settings import Settings
from sql.migrate import migrate


@contextmanager
def scratch_server(settings: Settings) -> Iterator[str]:
    """The URL of a server: that of PEEBOT_DATABASE_URL, else an embedded one that is gone after the block."""
    if settings.database_url is not None:
        yield settings.database_url.get_secret_value()
        return
    settings.home.mkdir(parents=True, exist_ok=True)
    root = Path(tempfile.mkdtemp(prefix="bench-", dir=settings.home))
    try:
        server = EmbeddedPostgres(root / "postgres")
        process = server.start(root / "log")
        try:
            server.wait_until_ready(process)
            yield server.url("postgres")
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=60)
    finally:
        shutil.rmtree(root)


@contextmanager
def scratch_database(server_url: str) -> Iterator[str]:
    """The URL of a new database with the whole schema, dropped after the block."""
    name = f"peebot_bench_{uuid.uuid4().hex[:12]}"
    with mendable(server_url), psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(
            pgsql.SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8'").format(pgsql.Identifier(name))
        )
    url = make_conninfo(server_url, dbname=name)
    try:
        migrate(url)
        yield url
    finally:
        with psycopg.connect(server_url, autocommit=True) as connection:
            connection.execute(pgsql.SQL("DROP DATABASE {} WITH (FORCE)").format(pgsql.Identifier(name)))


@contextmanager
def empty_database(database_url: str) -> Iterator[str]:
    """This database itself, which must hold no reading; what is stored in it stays there."""
    with mendable(database_url):
        migrate(database_url)
        with psycopg.connect(database_url) as connection:
            if connection.execute("SELECT FROM telemetry_reading LIMIT 1").fetchone() is not None:
                raise MendableError(f"{describe(database_url)} holds readings; give an empty database")
    yield database_url


def describe_store(database_url: str) -> str:
    """The edition and versions, as in `timescaledb-apache 2.19.3 on PostgreSQL 17.4`."""
    with psycopg.connect(database_url) as connection:
        row = connection.execute(
            "SELECT store_edition(), current_setting('server_version'),"
            " (SELECT extversion FROM pg_extension WHERE extname = 'timescaledb')"
        ).fetchone()
    assert row is not None  # noqa: S101  a SELECT without FROM has one row
    edition, server, extension = row
    return (
        f"{edition} {extension} on PostgreSQL {server}"
        if extension
        else f"PostgreSQL {server} (no extension)"
    )
