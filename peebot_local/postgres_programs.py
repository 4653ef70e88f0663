"""pg_dump and pg_restore of a version that suits the server."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from peebot_local.embedded_postgres import EmbeddedPostgres, server_environment
from peebot_local.errors import MendableError

_DEBIAN = Path("/usr/lib/postgresql")


def find_program(name: str, server_major: int) -> Path:
    """The program of the server's own major version, else the next newer one: an older one can't read it."""
    suitable = {
        major: path
        for path in reversed(list(_candidates(name, server_major)))
        if (major := _major_version(path)) is not None and major >= server_major
    }
    if not suitable:
        raise MendableError(
            f"there is no {name} for PostgreSQL {server_major}; install its client programs "
            f"(Debian: postgresql-client-{server_major}) so that they are on the PATH"
        )
    return suitable[min(suitable)]


def _candidates(name: str, server_major: int) -> Iterator[Path]:
    on_path = shutil.which(name)
    if on_path is not None:
        yield Path(on_path)
    yield _DEBIAN / str(server_major) / "bin" / name
    yield EmbeddedPostgres(Path()).binaries / name


def _major_version(program: Path) -> int | None:
    if not program.exists():
        return None
    version = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)  # noqa: S603
    found = re.search(r"\) (\d+)", version.stdout)
    return int(found[1]) if found else None


def connection_arguments(database_url: str) -> tuple[list[str], dict[str, str]]:
    """How to tell such a program its database: arguments, and an environment with the password."""
    parts = conninfo_to_dict(database_url)
    password = parts.pop("password", None)
    environment = server_environment()
    if password is not None:
        environment = {**environment, "PGPASSWORD": str(password)}
    return ["--dbname", make_conninfo("", **parts)], environment
