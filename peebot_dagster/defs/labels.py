"""What all assets have in common for the reader of the UI: group, owner, column schemas."""

from __future__ import annotations

import dagster as dg

OWNERS = ["team:peebot"]

GROUP = "peebot"
"""One group for all: the lineage page folds several groups up, and its picture is the point."""


def table_metadata(table: str, *columns: tuple[str, str, str]) -> dict[str, object]:
    """Metadata of an asset that is a table: its name, and name, type and description of its columns."""
    return {
        "dagster/table_name": table,
        "dagster/column_schema": dg.TableSchema(
            columns=[dg.TableColumn(name, type_, description) for name, type_, description in columns]
        ),
    }
