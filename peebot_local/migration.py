"""Migrating in a process of its own, which gives back what Alembic and SQLAlchemy take: some 25 MB."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from peebot_local.errors import MendableError

_URL = "PEEBOT_MIGRATE_URL"


def migrate_in_a_child(database_url: str, dagster_home: Path) -> None:
    """`migrate_databases`, for who lives on for weeks. Raises the MendableError that the child has met.

    A Ctrl-C at the terminal is for the parent, which ends the child: a migration is one transaction.
    """
    result = subprocess.run(  # noqa: S603
        [sys.executable, "-P", "-m", "peebot_local.migration", str(dagster_home)],
        # Not as an argument: everybody on the machine can read those.
        env={**os.environ, _URL: database_url},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        check=False,
    )
    if result.returncode == 0:
        return
    try:
        told = json.loads(result.stdout)
        message, details = str(told["message"]), tuple(map(str, told["details"]))
    except (ValueError, TypeError, KeyError):
        message = f"the migration ended with exit code {result.returncode}; what it said is above"
        details = ()
    raise MendableError(message, details)


def _main() -> int:
    from peebot_local.database import migrate_databases

    try:
        migrate_databases(os.environ.pop(_URL), Path(sys.argv[1]))
    except MendableError as error:
        sys.stdout.write(json.dumps({"message": str(error), "details": error.details}))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(_main())
