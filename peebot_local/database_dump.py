"""One database into a dump and out of it, by PostgreSQL's own programs; right with TimescaleDB."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, cast

import psycopg
from psycopg import sql as pgsql

from peebot_local.errors import MendableError
from peebot_local.postgres_programs import connection_arguments

_PIECE = 1 << 20


def dump_database(program: Path, url: str, sink: IO[bytes], *options: str) -> None:
    """Write a database in pg_dump's custom format; `options` are further ones of pg_dump."""
    arguments, environment = connection_arguments(url)
    # Stderr goes to a file: a full pipe would stop the dump.
    with tempfile.TemporaryFile() as complaints:
        with subprocess.Popen(  # noqa: S603
            [program, "--format=custom", *options, *arguments],
            stdout=subprocess.PIPE,
            stderr=complaints,
            env=environment,
        ) as process:
            shutil.copyfileobj(cast(IO[bytes], process.stdout), sink, _PIECE)
        if process.returncode != 0:
            complaints.seek(0)
            raise _failure("pg_dump failed; mend what it says and try again", complaints.read())


def load_database(program: Path, url: str, dump: IO[bytes]) -> None:
    """Put a dump into an empty database, by pg_restore; what it makes belongs to the user of the URL."""
    arguments, environment = connection_arguments(url)
    options = ["--no-owner", "--no-privileges", "--exit-on-error"]
    with tempfile.TemporaryFile() as complaints:
        with (
            subprocess.Popen(  # noqa: S603
                [program, *options, *arguments], stdin=subprocess.PIPE, stderr=complaints, env=environment
            ) as process,
            suppress(BrokenPipeError),  # that it has stopped reading shows in its exit code
            cast(IO[bytes], process.stdin) as pipe,
        ):
            shutil.copyfileobj(dump, pipe, _PIECE)
        if process.returncode != 0:
            complaints.seek(0)
            reason = "pg_restore failed; mend what it says and restore again with --force"
            raise _failure(reason, complaints.read())


def _failure(message: str, complaints: bytes) -> MendableError:
    return MendableError(message, tuple(complaints.decode(errors="replace").strip().splitlines()[-8:]))


@contextmanager
def restoring_timescaledb(url: str, version: str | None) -> Iterator[None]:
    """Within the block TimescaleDB takes its own tables as they come; without one, nothing."""
    if version is None:
        yield
        return
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            pgsql.SQL("CREATE EXTENSION IF NOT EXISTS timescaledb VERSION {}").format(pgsql.Literal(version))
        )
        connection.execute("SELECT timescaledb_pre_restore()")
    yield
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SELECT timescaledb_post_restore()")
