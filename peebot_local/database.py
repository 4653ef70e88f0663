"""The two databases, PeeBot's and Dagster's beside it: made, migrated, and reached with helpful errors."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import psycopg
from psycopg import errors
from psycopg import sql as pgsql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from peebot_local.errors import MendableError
from sql.migrate import migrate

PROJECT = Path(__file__).resolve().parent.parent
_MIGRATED_BY = "migrated-by"


def describe(database_url: str) -> str:
    """Where a database is, without its password."""
    parts = conninfo_to_dict(database_url)
    return f"{parts.get('dbname')} on {parts.get('host', 'localhost')}:{parts.get('port', 5432)}"


@contextmanager
def mendable(database_url: str) -> Iterator[None]:
    """Turn what PostgreSQL says in the block into one line that says what to do."""
    place = describe(database_url)
    try:
        yield
    except errors.DiskFull as error:
        raise MendableError(
            f"the disk of the database {place} is full; free some space and start again"
        ) from error
    except (errors.UndefinedTable, errors.UndefinedFunction) as error:
        raise MendableError(
            f"the database {place} has not PeeBot's newest schema; run './peebot migrate'"
        ) from error
    except errors.InsufficientPrivilege as error:
        reason = _one_line(error)
        raise MendableError(f"the user of the database {place} lacks a right ({reason}); grant it") from error
    except psycopg.OperationalError as error:
        raise MendableError(
            f"cannot reach the database {place} ({_one_line(error)}); "
            "correct PEEBOT_DATABASE_URL, or mend that server and start again"
        ) from error


def _one_line(error: psycopg.Error) -> str:
    return str(error).strip().splitlines()[-1].strip()


def reachable(database_url: str) -> bool:
    """Whether the database takes connections now."""
    try:
        psycopg.connect(database_url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


def create_database(server_url: str, name: str) -> None:
    """Make the database if it is not there; `server_url` is any database of the same server."""
    if database_exists(server_url, name):
        return
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(pgsql.SQL("CREATE DATABASE {}").format(pgsql.Identifier(name)))


def database_exists(server_url: str, name: str) -> bool:
    """Whether there is such a database; `server_url` is any database of the same server that is there."""
    with psycopg.connect(server_url) as connection:
        return (
            connection.execute("SELECT FROM pg_database WHERE datname = %s", (name,)).fetchone() is not None
        )


def migrate_databases(database_url: str, dagster_home: Path) -> None:
    """Bring PeeBot's and Dagster's database to the newest schema; quick when they are."""
    with mendable(database_url):
        migrate(database_url)
        create_database(database_url, dagster_database(database_url))
    prepare_dagster_home(dagster_home)
    dagster_url = make_conninfo(database_url, dbname=dagster_database(database_url))
    stamp = dagster_home / _MIGRATED_BY
    signature = f"dagster {version('dagster')} {describe(database_url)}"
    if stamp.exists() and stamp.read_text() == signature and _has_dagster_tables(dagster_url):
        return
    result = subprocess.run(
        [sys.executable, "-P", "-m", "dagster", "instance", "migrate"],
        env={**os.environ, **dagster_environment(database_url, dagster_home)},
        cwd="/",
        text=True,
        capture_output=True,
        check=False,
    )
    if result.returncode != 0:
        raise MendableError(
            f"Dagster could not make its tables in {dagster_database(database_url)}; mend what it says",
            tuple(result.stderr.strip().splitlines()[-8:]),
        )
    _give_to_dagsters_role(dagster_url)
    stamp.write_text(signature)


def forget_migration(dagster_home: Path) -> None:
    """Let the next `migrate_databases` look at Dagster's tables again: they were replaced."""
    (dagster_home / _MIGRATED_BY).unlink(missing_ok=True)


def prepare_dagster_home(dagster_home: Path) -> None:
    """Give Dagster its home with the project's dagster.yaml as it is now."""
    dagster_home.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(PROJECT / "dagster.yaml", dagster_home / "dagster.yaml")


def dagster_environment(database_url: str, dagster_home: Path) -> Mapping[str, str]:
    """The variables that dagster.yaml and the definitions read."""
    parts = conninfo_to_dict(database_url)
    return {
        "DAGSTER_HOME": str(dagster_home),
        "DAGSTER_PG_USER": str(parts.get("user") or ""),
        "DAGSTER_PG_PASSWORD": str(parts.get("password") or ""),
        "DAGSTER_PG_HOST": str(parts.get("host") or "localhost"),
        "DAGSTER_PG_PORT": str(parts.get("port") or 5432),
        "DAGSTER_PG_DB": dagster_database(database_url),
        "PEEBOT_DATABASE_URL": database_url,
    }


def dagster_database(database_url: str) -> str:
    """The name of Dagster's own database, beside PeeBot's on the same server."""
    return f"{conninfo_to_dict(database_url)['dbname']}_dagster"


def _has_dagster_tables(dagster_url: str) -> bool:
    with mendable(dagster_url), psycopg.connect(dagster_url) as connection:
        return connection.execute("SELECT to_regclass('runs') IS NOT NULL").fetchone() == (True,)


def _give_to_dagsters_role(dagster_url: str) -> None:
    # Only a superuser can give away; whoever else has made the tables goes on as their owner.
    with mendable(dagster_url), psycopg.connect(dagster_url) as connection:
        connection.execute(
            """
            DO $$
            DECLARE
                owned text;
            BEGIN
                IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'peebot_dagster')
                    OR NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)
                THEN
                    RETURN;
                END IF;
                FOR owned IN SELECT tablename FROM pg_tables WHERE schemaname = current_schema() LOOP
                    EXECUTE format('ALTER TABLE %I OWNER TO peebot_dagster', owned);
                END LOOP;
                EXECUTE format('GRANT USAGE, CREATE ON SCHEMA %I TO peebot_dagster', current_schema());
            END $$
            """
        )
