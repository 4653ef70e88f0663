"""`peebot backup` and `peebot restore`: both databases in one file, a zip of dumps in the custom format."""

from __future__ import annotations

import os
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import datetime
from pathlib import Path

import psycopg
from psycopg import IsolationLevel
from psycopg import sql as pgsql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from pydantic import BaseModel, ConfigDict, ValidationError

from peebot_local.checksums import Checksums, TableSum, checksums, differences
from peebot_local.database import (
    create_database,
    dagster_database,
    database_exists,
    forget_migration,
    mendable,
    migrate_databases,
)
from peebot_local.database_dump import dump_database, load_database, restoring_timescaledb
from peebot_local.display import Steps
from peebot_local.errors import MendableError
from peebot_local.postgres_programs import find_program
from sql.schema_version import known_revisions, schema_revision

STORE, DAGSTER = "peebot", "dagster"
_MANIFEST = "manifest.json"
_IS_EMPTY = """
SELECT NOT EXISTS (
    SELECT FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE relkind IN ('r', 'p', 'v', 'm') AND nspname <> 'information_schema' AND nspname !~ '^pg_'
        AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = pg_class.oid AND classid = 'pg_class'::regclass
                                                AND deptype = 'e')
)
"""


class Manifest(BaseModel):
    """What a backup holds: one dump per database. Times are UTC."""

    model_config = ConfigDict(frozen=True)

    made_at: datetime
    server_major: int
    timescaledb: str | None
    databases: tuple[str, ...]
    revision: str | None = None
    """Of PeeBot's schema; older backups do not tell."""
    checksums: dict[str, dict[str, TableSum]] = {}
    """Of each table of each database, of the moment of its dump; empty when they were not asked for."""


def backup(database_url: str, file: Path, now: datetime, steps: Steps, with_checksums: bool = False) -> None:
    """Write both databases into `file`, which appears only when it is complete. What runs may go on.

    `with_checksums`: the backup tells what is in every table, and `restore` compares; it reads all rows.
    """
    names = _names(database_url)
    with mendable(database_url), psycopg.connect(database_url) as connection:
        manifest = Manifest(
            made_at=now,
            server_major=connection.info.server_version // 10000,
            timescaledb=_timescaledb_version(connection),
            databases=tuple(which for which in names if database_exists(database_url, names[which])),
            revision=schema_revision(connection),
        )
    program = find_program("pg_dump", manifest.server_major)
    with _complete_or_not_at_all(file) as unfinished, zipfile.ZipFile(unfinished, "w") as archive:
        sums: dict[str, dict[str, TableSum]] = {}
        for which in manifest.databases:
            url = make_conninfo(database_url, dbname=names[which])
            with _snapshot(url) if with_checksums else nullcontext() as snapshot:
                options = [] if snapshot is None else [f"--snapshot={snapshot[1]}"]
                with (
                    steps.step(f"Dumping {names[which]}"),
                    archive.open(_member(which), "w", force_zip64=True) as member,
                ):
                    dump_database(program, url, member, *options)
                if snapshot is not None:
                    with steps.step(f"Adding up the tables of {names[which]}"):
                        sums[which] = checksums(snapshot[0])
        complete = manifest.model_copy(update={"checksums": sums})
        archive.writestr(_MANIFEST, complete.model_dump_json(indent=1))


def restore(database_url: str, dagster_home: Path, file: Path, force: bool, steps: Steps) -> None:
    """Put a backup into the two databases, which must be empty or, by `force`, are made anew.

    What a backup tells of its tables is verified. An older backup is then brought to the newest schema.
    """
    with _open(file) as archive, mendable(database_url):
        manifest = _manifest(archive, file)
        if manifest.revision is not None and manifest.revision not in known_revisions():
            raise MendableError(
                f"{file} is of schema {manifest.revision}, which only a newer version of PeeBot knows; "
                "restore it with that one"
            )
        names = {which: name for which, name in _names(database_url).items() if which in manifest.databases}
        for name in names.values():
            if not force and not _is_empty(database_url, name):
                raise MendableError(
                    f"the database {name} is not empty; --force replaces it, and what is in it is then lost"
                )
        with psycopg.connect(_server_url(database_url)) as connection:
            major = connection.info.server_version // 10000
            _require_timescaledb(connection, manifest.timescaledb)
        program = find_program("pg_restore", max(major, manifest.server_major))
        for which, name in names.items():
            url = make_conninfo(database_url, dbname=name)
            version = manifest.timescaledb if which == STORE else None
            with steps.step(f"Restoring {name}"), archive.open(_member(which)) as dump:
                _make_empty(database_url, name)
                with restoring_timescaledb(url, version):
                    load_database(program, url, dump)
            if which in manifest.checksums:
                _verify(url, name, manifest.checksums[which], steps)
    with steps.step("Bringing the databases to the newest schema"):
        forget_migration(dagster_home)
        migrate_databases(database_url, dagster_home)
        with mendable(database_url), psycopg.connect(database_url, autocommit=True) as connection:
            # A dump of another server may name roles that this one does not have; these are its own.
            connection.execute("SELECT grant_roles()")
            connection.execute("ANALYZE")


@contextmanager
def _snapshot(url: str) -> Iterator[tuple[psycopg.Connection, str]]:
    """A transaction, and the name by which pg_dump sees exactly what it sees."""
    with psycopg.connect(url) as connection:
        connection.isolation_level = IsolationLevel.REPEATABLE_READ
        ((name,),) = connection.execute("SELECT pg_export_snapshot()").fetchall()
        yield connection, name


def _verify(url: str, name: str, wanted: Checksums, steps: Steps) -> None:
    with steps.step(f"Comparing {name} with the backup's checksums"), psycopg.connect(url) as connection:
        unlike = differences(wanted, checksums(connection))
    if unlike:
        raise MendableError(
            f"{name} is not what was saved; restore another backup, and keep this file to find out why",
            tuple(unlike[:8]),
        )
    rows = sum(table.rows for table in wanted.values())
    steps.say(f"{name}: {len(wanted)} tables with {rows:,} rows are as they were saved.")


def backup_made_at(file: Path) -> datetime | None:
    """When the backup in this file was made (UTC); None for a file that is none, or a damaged one."""
    try:
        with zipfile.ZipFile(file) as archive:
            return _manifest(archive, file).made_at
    except (OSError, zipfile.BadZipFile, MendableError):
        return None


def _names(database_url: str) -> dict[str, str]:
    return {STORE: str(conninfo_to_dict(database_url)["dbname"]), DAGSTER: dagster_database(database_url)}


def _server_url(database_url: str) -> str:
    # The target itself can't be connected to while it is made anew.
    return make_conninfo(database_url, dbname="postgres")


def _member(which: str) -> str:
    return f"{which}.dump"


def _timescaledb_version(connection: psycopg.Connection) -> str | None:
    row = connection.execute("SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'").fetchone()
    return None if row is None else str(row[0])


@contextmanager
def _complete_or_not_at_all(file: Path) -> Iterator[Path]:
    if not file.parent.is_dir():
        raise MendableError(f"there is no folder {file.parent}; make it, or name another file")
    try:
        handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    except OSError as error:
        raise MendableError(f"cannot write to {file.parent} ({error.strerror}); name another file") from error
    os.close(handle)
    unfinished = Path(name)
    try:
        yield unfinished
        unfinished.replace(file)
    except OSError as error:
        raise MendableError(f"cannot write {file} ({error.strerror}); free some space") from error
    finally:
        unfinished.unlink(missing_ok=True)


@contextmanager
def _open(file: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(file) as archive:
            damaged = archive.testzip()
            if damaged is not None:
                raise MendableError(f"{file} is damaged ({damaged}); use another backup")
            yield archive
    except FileNotFoundError:
        raise MendableError(f"there is no file {file}") from None
    except zipfile.BadZipFile as error:
        raise MendableError(f"{file} is no backup of PeeBot, or a damaged one; use another") from error


def _manifest(archive: zipfile.ZipFile, file: Path) -> Manifest:
    try:
        return Manifest.model_validate_json(archive.read(_MANIFEST))
    except (KeyError, ValidationError) as error:
        raise MendableError(f"{file} is no backup of PeeBot") from error


def _is_empty(database_url: str, name: str) -> bool:
    if not database_exists(_server_url(database_url), name):
        return True
    with psycopg.connect(make_conninfo(database_url, dbname=name)) as connection:
        return connection.execute(_IS_EMPTY).fetchone() == (True,)


def _make_empty(database_url: str, name: str) -> None:
    server_url = _server_url(database_url)
    if not _is_empty(database_url, name):
        with psycopg.connect(server_url, autocommit=True) as connection:
            connection.execute(pgsql.SQL("DROP DATABASE {} WITH (FORCE)").format(pgsql.Identifier(name)))
    create_database(server_url, name)


def _require_timescaledb(connection: psycopg.Connection, version: str | None) -> None:
    if version is None:
        return
    row = connection.execute(
        "SELECT FROM pg_available_extension_versions WHERE name = 'timescaledb' AND version = %s", (version,)
    ).fetchone()
    if row is None:
        raise MendableError(
            f"the backup is of TimescaleDB {version}, which this server does not have; "
            "restore it on a server with that version, and update TimescaleDB there"
        )
