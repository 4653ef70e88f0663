"""The two databases, PeeBot's and Dagster's beside it: made, migrated, and reached with helpful errors."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote, urlencode

import psycopg
from psycopg import errors
from psycopg import sql as pgsql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from peebot_dagster.store import with_time_outs
from peebot_local.errors import MendableError
from sql.schema_version import SchemaTooNewError, SchemaTooOldError, refuse_newer_schema, refuse_other_schema

PROJECT = Path(__file__).resolve().parent.parent
_POLL_S = 1.0
DAGSTERS_OWN = {
    "DAGSTER_EVENT_BATCH_SIZE": "1000",
    "DAGSTER_EMIT_PARTITION_SUBSET_IN_PLANNED_EVENTS": "true",
    "DAGSTER_SENSOR_GRPC_TIMEOUT_SECONDS": "180",
}
"""What all of Dagster's processes are told, unless the environment says otherwise."""
_MIGRATED_BY = "migrated-by"


def describe(database_url: str) -> str:
    """Where a database is, without its password."""
    parts = conninfo_to_dict(database_url)
    return f"{parts.get('dbname')} on {parts.get('host', 'localhost')}:{parts.get('port', 5432)}"


@contextmanager
def mendable(database_url: str) -> Iterator[None]:
    """Turn what PostgreSQL says in the block into one line that says what to do."""
    try:
        yield
    except Exception as error:
        # SQLAlchemy wraps what psycopg has raised.
        advice = _advice(getattr(error, "orig", error), describe(database_url))
        if advice is None:
            raise
        raise MendableError(advice) from error


def _advice(error: object, place: str) -> str | None:
    match error:
        case SchemaTooNewError() | SchemaTooOldError():
            return f"the database {place} cannot be used: {error}"
        case errors.DiskFull():
            return f"the disk of the database {place} is full; free some space and start again"
        case errors.UndefinedTable() | errors.UndefinedFunction():
            return f"the database {place} has not PeeBot's newest schema; run './peebot migrate'"
        case errors.InsufficientPrivilege():
            return f"the user of the database {place} lacks a right ({_one_line(error)}); grant it"
        case psycopg.OperationalError():
            return (
                f"cannot reach the database {place} ({_one_line(error)}); "
                "correct PEEBOT_DATABASE_URL, or mend that server, and start again"
            )
    return None


def _one_line(error: psycopg.Error) -> str:
    return str(error).strip().splitlines()[0].removeprefix("connection failed: ")


def reachable(database_url: str) -> bool:
    """Whether the database takes connections now."""
    try:
        psycopg.connect(database_url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


def wait_for_database(database_url: str, patience_s: float, say: Callable[[str], None]) -> None:
    """Return when the database takes connections, or after `patience_s`; `say` is told of it once."""
    end_s = time.monotonic() + patience_s
    told = False
    while not reachable(database_url) and time.monotonic() < end_s:
        if not told:
            say(f"Waiting up to {patience_s:.0f} s for the database {describe(database_url)}.")
            told = True
        time.sleep(_POLL_S)


def require_known_schema(database_url: str, newest: bool = False) -> None:
    """MendableError when a later version of PeeBot has changed the schema; a database away is not judged.

    `newest`: also when a migration is missing. What waits for its database goes on waiting, and finds out
    when it is there.
    """
    try:
        connection = psycopg.connect(database_url, connect_timeout=2)
    except psycopg.OperationalError:
        return
    with mendable(database_url), connection:
        (refuse_other_schema if newest else refuse_newer_schema)(connection)


def create_database(server_url: str, name: str) -> None:
    """Make the database, in UTF-8, if it is not there; `server_url` is any database of the same server."""
    if database_exists(server_url, name):
        return
    with psycopg.connect(server_url, autocommit=True) as connection:
        ((encoding,),) = connection.execute(
            "SELECT pg_encoding_to_char(encoding) FROM pg_database WHERE datname = 'template0'"
        ).fetchall()
        # The server's own locale may be of another encoding, which then can't be had with it.
        locale = "" if encoding == "UTF8" else " LC_COLLATE 'C' LC_CTYPE 'C'"
        statement = f"CREATE DATABASE {{}} TEMPLATE template0 ENCODING 'UTF8'{locale}"
        connection.execute(pgsql.SQL(statement).format(pgsql.Identifier(name)))


def database_exists(server_url: str, name: str) -> bool:
    """Whether there is such a database; `server_url` is any database of the same server that is there."""
    with psycopg.connect(server_url) as connection:
        return (
            connection.execute("SELECT FROM pg_database WHERE datname = %s", (name,)).fetchone() is not None
        )


def migrate_databases(database_url: str, dagster_home: Path) -> None:
    """Bring PeeBot's and Dagster's database to the newest schema; quick when they are.

    Dagster's own settings in `dagster_home` are left alone: they may be those of an instance that runs.
    """
    # Its import takes half a second that other commands need not wait for.
    from sql.migrate import migrate

    with mendable(database_url):
        _require_utf8(database_url)
        migrate(database_url)
        create_database(database_url, dagster_database(database_url))
    dagster_home.mkdir(parents=True, exist_ok=True)
    dagster_conninfo = make_conninfo(database_url, dbname=dagster_database(database_url))
    stamp = dagster_home / _MIGRATED_BY
    signature = f"dagster {version('dagster')} {describe(database_url)}"
    if stamp.exists() and stamp.read_text() == signature and _has_dagster_tables(dagster_conninfo):
        return
    with TemporaryDirectory(prefix="peebot-migrate-") as folder:
        prepare_dagster_home(Path(folder))
        result = subprocess.run(
            [sys.executable, "-P", "-m", "dagster", "instance", "migrate"],
            env={**os.environ, **dagster_environment(database_url, Path(folder))},
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
    grant_dagsters_tables(database_url)
    stamp.write_text(signature)


def _require_utf8(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        encoding = connection.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise MendableError(
            f"the database {describe(database_url)} has the encoding {encoding}; make one with "
            "CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0, and name it in PEEBOT_DATABASE_URL"
        )


def forget_migration(dagster_home: Path) -> None:
    """Let the next `migrate_databases` look at Dagster's tables again: they were replaced."""
    (dagster_home / _MIGRATED_BY).unlink(missing_ok=True)


def prepare_dagster_home(dagster_home: Path, workers: int | None = None) -> None:
    """Give Dagster its home with the project's dagster.yaml as it is now.

    `workers`: how many warm workers its runs are given to, those of all hosts together; None: to none.
    """
    dagster_home.mkdir(parents=True, exist_ok=True)
    settings = (PROJECT / "dagster.yaml").read_text(encoding="utf-8")
    if workers is not None:
        import yaml

        merged = yaml.safe_load(settings)
        merged |= yaml.safe_load((PROJECT / "dagster.celery.yaml").read_text(encoding="utf-8"))
        runs = merged["concurrency"]["runs"]
        runs["max_concurrent_runs"] = workers + 2
        # One worker is left to posts, which would else wait behind a backfill's days until they are stale.
        runs["tag_concurrency_limits"] = [{"key": "dagster/backfill", "limit": max(1, workers - 1)}]
        settings = yaml.safe_dump(merged)
    (dagster_home / "dagster.yaml").write_text(settings, encoding="utf-8")


def dagster_environment(database_url: str, dagster_home: Path) -> Mapping[str, str]:
    """The variables that dagster.yaml and the definitions read, and three that Dagster itself does.

    The materializations of a run are stored in one statement, and what it plans is one event for each asset:
    one for each partition, each on a connection of its own, would take a backfill of a month minutes. A tick
    of live detection waits while a day of readings is put in order at night, for longer than Dagster's 60 s.
    These three are as the environment has them where it does.
    """
    return {
        **{variable: os.environ.get(variable) or value for variable, value in DAGSTERS_OWN.items()},
        "DAGSTER_HOME": str(dagster_home),
        "DAGSTER_PG_URL": dagster_url(database_url),
        "PEEBOT_CODE_SERVER_HOST": os.environ.get("PEEBOT_CODE_SERVER_HOST") or "127.0.0.1",
        "PEEBOT_DATABASE_URL": database_url,
    }


def dagster_url(database_url: str) -> str:
    """The URL of Dagster's database for SQLAlchemy, with all parameters that PeeBot's own has.

    They are all in the query, which SQLAlchemy hands to libpq as it is: so a socket's folder, several hosts,
    certificates and time-outs mean the same to both. Each end notices when the other is dead.
    """
    parameters = {**conninfo_to_dict(with_time_outs(database_url)), "dbname": dagster_database(database_url)}
    hosts, ports = (str(parameters.get(name, "")).split(",") for name in ("host", "port"))
    if len(ports) == 1 and ports[0]:
        # libpq takes one port for all hosts, SQLAlchemy wants one for each.
        parameters["port"] = ",".join(ports * len(hosts))
    return f"postgresql+psycopg2://?{urlencode(parameters, quote_via=quote)}"


def dagster_database(database_url: str) -> str:
    """The name of Dagster's own database, beside PeeBot's on the same server."""
    return f"{conninfo_to_dict(database_url)['dbname']}_dagster"


def _has_dagster_tables(conninfo: str) -> bool:
    with mendable(conninfo), psycopg.connect(conninfo) as connection:
        return connection.execute("SELECT to_regclass('runs') IS NOT NULL").fetchone() == (True,)


_GRANT_WRITING = """
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'peebot_dagster') THEN
        RETURN;
    END IF;
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO peebot_dagster', current_schema());
    EXECUTE format(
        'GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA %I TO peebot_dagster', current_schema()
    );
    EXECUTE format('GRANT USAGE ON ALL SEQUENCES IN SCHEMA %I TO peebot_dagster', current_schema());
END $$
"""
# Tables that a later Dagster makes, too, and be it by the owner's own `dagster instance migrate`.
_GRANT_READING = """
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'peebot_dagster_reader') THEN
        RETURN;
    END IF;
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO peebot_dagster_reader', current_schema());
    EXECUTE format('GRANT SELECT ON ALL TABLES IN SCHEMA %I TO peebot_dagster_reader', current_schema());
    EXECUTE format(
        'ALTER DEFAULT PRIVILEGES IN SCHEMA %I GRANT SELECT ON TABLES TO peebot_dagster_reader',
        current_schema()
    );
END $$
"""


def grant_dagsters_tables(database_url: str) -> None:
    """Let peebot_dagster, if there is that role, read and write Dagster's tables, but not own them.

    At work Dagster needs no more: only `migrate` makes tables or changes them. peebot_dagster_reader, if
    there is that role, may read them.
    """
    conninfo = make_conninfo(database_url, dbname=dagster_database(database_url))
    with mendable(conninfo), psycopg.connect(conninfo) as connection:
        connection.execute(_GRANT_WRITING)
        connection.execute(_GRANT_READING)
