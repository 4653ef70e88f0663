"""What is in the tables of a database, as numbers that are the same wherever and however it lies."""

from __future__ import annotations

from collections.abc import Mapping

import psycopg
from psycopg import sql as pgsql
from pydantic import BaseModel, ConfigDict

_TABLES = """
SELECT relname FROM pg_class
WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
    AND NOT EXISTS (SELECT FROM pg_depend
                    WHERE objid = pg_class.oid AND classid = 'pg_class'::regclass AND deptype = 'e')
ORDER BY relname
"""
# A row's text must not depend on what a server or a user has set.
_PLAIN_TEXT = (
    "SET LOCAL TimeZone = 'UTC'",
    "SET LOCAL DateStyle = 'ISO'",
    "SET LOCAL IntervalStyle = 'postgres'",
    "SET LOCAL bytea_output = 'hex'",
    "SET LOCAL extra_float_digits = 1",
)


class TableSum(BaseModel):
    """How many rows a table has, and the sum of a 64-bit hash of each."""

    model_config = ConfigDict(frozen=True)

    rows: int
    hashes: str


Checksums = Mapping[str, TableSum]


def checksums(connection: psycopg.Connection) -> dict[str, TableSum]:
    """Of every table of the connection's schema, within its transaction; reads all rows."""
    for setting in _PLAIN_TEXT:
        connection.execute(setting)
    sums = {}
    for (table,) in connection.execute(_TABLES).fetchall():
        query = "SELECT count(*), coalesce(sum(hashtextextended(t::text, 0)), 0)::text FROM {} AS t"
        ((rows, hashes),) = connection.execute(pgsql.SQL(query).format(pgsql.Identifier(table))).fetchall()
        sums[table] = TableSum(rows=rows, hashes=hashes)
    return sums


def differences(wanted: Checksums, found: Checksums) -> list[str]:
    """One line for each table that is not as it was."""
    lines = []
    for table in sorted(wanted.keys() | found.keys()):
        before, after = wanted.get(table), found.get(table)
        if before is None or after is None:
            lines.append(f"{table}: {'only in the backup' if after is None else 'not in the backup'}")
        elif before != after:
            rows = f"{before.rows:,} rows in the backup, {after.rows:,} here"
            lines.append(f"{table}: {rows if before.rows != after.rows else 'other contents'}")
    return lines
