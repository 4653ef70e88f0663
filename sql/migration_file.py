"""Running one plain .sql file as an Alembic migration."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import psycopg
from alembic import op

MIGRATIONS = Path(__file__).parent / "migrations"


def run_migration_file(name: str) -> None:
    """Run all statements of migrations/`name` as they stand: no parameters, so % is only a percent sign."""
    connection = cast(psycopg.Connection, op.get_bind().connection.driver_connection)
    connection.execute((MIGRATIONS / name).read_bytes())
