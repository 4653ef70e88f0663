"""Which schema a database has, and whether this code is for it."""

from __future__ import annotations

from pathlib import Path

import psycopg


class SchemaTooNewError(Exception):
    """A later version of PeeBot has brought the database to a schema that this code does not know."""

    def __init__(self, revision: str, newest: str) -> None:
        super().__init__(
            f"its schema is {revision}, newer than this code's {newest}: run the newer version of PeeBot, or "
            "restore the backup made before the upgrade (./peebot restore FILE --force)"
        )


class SchemaTooOldError(Exception):
    """The migrations that this code relies on have not been made yet."""

    def __init__(self, revision: str | None, newest: str) -> None:
        super().__init__(f"its schema is {revision or 'none'}, this code's is {newest}: run ./peebot migrate")


def known_revisions() -> list[str]:
    """The revisions of this code's migrations, oldest first."""
    return sorted(file.name[:4] for file in (Path(__file__).parent / "versions").glob("[0-9]*.py"))


def schema_revision(connection: psycopg.Connection) -> str | None:
    """The revision of the database's schema; None when it has none of PeeBot's."""
    ((table,),) = connection.execute("SELECT to_regclass('alembic_version')").fetchall()
    if table is None:
        return None
    row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    return None if row is None else str(row[0])


def refuse_newer_schema(connection: psycopg.Connection) -> None:
    """SchemaTooNewError when this code would read and write tables that it does not know.

    An older schema is none of its business: that is what migrations are for.
    """
    revision = schema_revision(connection)
    known = known_revisions()
    if revision is not None and revision not in known:
        raise SchemaTooNewError(revision, known[-1])


def refuse_other_schema(connection: psycopg.Connection) -> None:
    """SchemaTooNewError or SchemaTooOldError unless the schema is the one of this code."""
    refuse_newer_schema(connection)
    revision, newest = schema_revision(connection), known_revisions()[-1]
    if revision != newest:
        raise SchemaTooOldError(revision, newest)
