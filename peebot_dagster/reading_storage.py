"""Dagster's storage for a login that only reads.

Two things Dagster stores while its UI is looked at; here they are left out.
"""

from __future__ import annotations

from dagster._core.storage.runs.schema import InstanceInfo
from dagster._core.storage.sqlalchemy_compat import db_select
from dagster_postgres import PostgresEventLogStorage, PostgresRunStorage


class ReadingEventLogStorage(PostgresEventLogStorage):
    """Events as they are stored. Which partitions are there is computed from what is known, and not kept."""

    def can_write_asset_status_cache(self) -> bool:
        """No: asked by Dagster before it keeps that in asset_keys."""
        return False


class ReadingRunStorage(PostgresRunStorage):
    """Runs as they are stored."""

    def get_run_storage_id(self) -> str:
        """The instance's name for itself. Dagster makes one up and stores it when a page is first opened."""
        row = self.fetchone(db_select([InstanceInfo.c.run_storage_id]))
        return str(row["run_storage_id"]) if row else ""
