"""Dagster's PostgreSQL storage on connections that are kept: `storage.custom` of dagster.yaml.

Dagster opens a connection for each statement or two, ten a second while nothing happens, and each costs
server and client more than what is done with it. The instance is made anew for each tick and each run, so
the connections belong to the process.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Self

import sqlalchemy
from dagster._serdes import ConfigurableClassData
from dagster_postgres import DagsterPostgresStorage
from dagster_postgres.utils import create_pg_connection, pg_url_from_config

from peebot_dagster.reading_storage import ReadingEventLogStorage, ReadingRunStorage

KEPT = 2
"""Connections that a process keeps; those that it needs beyond, for a moment, are not kept."""

_TABLES_OF_ALL_STORAGES = sqlalchemy.text(
    "SELECT to_regclass('runs') IS NOT NULL AND to_regclass('instance_info') IS NOT NULL"
    " AND to_regclass('event_logs') IS NOT NULL AND to_regclass('jobs') IS NOT NULL"
)
_WRITES = sqlalchemy.text("SELECT coalesce(has_table_privilege(to_regclass('runs'), 'INSERT'), true)")


class PooledPostgresStorage(DagsterPostgresStorage):
    """Runs, events and schedules over one pool. Configured as Dagster's own: `postgres_url`, and so on.

    With a login that may only read Dagster's tables it never tries to write while it is asked.
    """

    def __init__(
        self,
        postgres_url: str,
        should_autocreate_tables: bool = True,
        inst_data: ConfigurableClassData | None = None,
    ) -> None:
        # With it, each of the three looks at the whole schema, each time.
        missing = should_autocreate_tables and not _says(_TABLES_OF_ALL_STORAGES, postgres_url, os.getpid())
        super().__init__(postgres_url, missing, inst_data)
        if not _says(_WRITES, postgres_url, os.getpid()):
            self._run_storage = ReadingRunStorage(postgres_url, False)
            self._event_log_storage = ReadingEventLogStorage(postgres_url, False)
        for storage in (self._run_storage, self._event_log_storage, self._schedule_storage):
            storage._engine = _engine(postgres_url, os.getpid())

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> Self:
        """What dagster.yaml says."""
        return cls(
            pg_url_from_config(config_value),
            config_value.get("should_autocreate_tables", True),
            inst_data,
        )


@lru_cache(maxsize=4)
def _engine(postgres_url: str, pid: int) -> sqlalchemy.Engine:
    """By process: a fork must not use what its parent has open."""
    # Asked before use: a server may have been restarted since the last one.
    return sqlalchemy.create_engine(
        postgres_url, isolation_level="AUTOCOMMIT", pool_size=KEPT, max_overflow=-1, pool_pre_ping=True
    )


@lru_cache(maxsize=8)
def _says(question: sqlalchemy.TextClause, postgres_url: str, pid: int) -> bool:
    """What the database answers; asked once by each process."""
    with create_pg_connection(_engine(postgres_url, pid)) as connection:
        return bool(connection.execute(question).scalar())
