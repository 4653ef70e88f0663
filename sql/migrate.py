"""Bring a database to the newest schema and load the channel catalogue; on a newest one nothing changes."""

from __future__ import annotations

import csv
import json
from importlib import resources
from pathlib import Path
from typing import cast

import psycopg
from alembic import command
from alembic.config import Config
from psycopg.types.json import Jsonb
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from sql.schema_version import refuse_newer_schema

MIGRATION_LOCK = 0x70656562
"""Key of the advisory lock that makes concurrent migrations wait for each other."""


def migrate(database_url: str, revision: str = "head") -> None:
    """Run the missing migrations up to `revision` and upsert channels.csv, all in one transaction.

    `database_url` is a libpq URL (postgresql://...) or key=value string. SchemaTooNewError when a later
    version of PeeBot has been there.
    """
    # libpq reads the URL itself: what SQLAlchemy makes of one is not always what libpq means by it.
    engine = create_engine(
        "postgresql+psycopg://", creator=lambda: psycopg.connect(database_url), poolclass=NullPool
    )
    with engine.begin() as connection:
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(%s)", (MIGRATION_LOCK,))
        driver_connection = cast(psycopg.Connection, connection.connection.driver_connection)
        refuse_newer_schema(driver_connection)
        config = Config()
        config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        load_channels(driver_connection, resources.files("sql").joinpath("channels.csv").read_text("utf-8"))


def load_channels(connection: psycopg.Connection, catalogue: str) -> None:
    """Upsert the catalogue (the text of a channels.csv) by item_id.

    A channel keeps the channel_id under which its readings are stored, also when the feed had it first.
    """
    rows = [
        {column: text or None for column, text in row.items()}
        | {"states": json.loads(row["states"]) if row["states"] else None}
        for row in csv.DictReader(catalogue.splitlines())
    ]
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE TEMPORARY TABLE catalogue (channel_id smallint, item_id text, name text, subsystem text,"
            " unit text, kind text, states jsonb, description text) ON COMMIT DROP"
        )
        cursor.execute(
            "INSERT INTO catalogue SELECT * FROM jsonb_populate_recordset(NULL::catalogue, %s)",
            (Jsonb(rows),),
        )
        cursor.execute(
            """
            INSERT INTO telemetry_channel AS channel
                (channel_id, item_id, name, subsystem, unit, kind, states, description, catalogued)
            SELECT channel_id, item_id, name, subsystem, unit, kind, states, description, true FROM catalogue
            ON CONFLICT (item_id) DO UPDATE SET
                name = excluded.name, subsystem = excluded.subsystem, unit = excluded.unit,
                kind = excluded.kind, states = excluded.states, description = excluded.description,
                catalogued = true
            WHERE (channel.name, channel.subsystem, channel.unit, channel.kind, channel.states,
                   channel.description, channel.catalogued)
                IS DISTINCT FROM (excluded.name, excluded.subsystem, excluded.unit, excluded.kind,
                   excluded.states, excluded.description, true)
            """
        )
        cursor.execute(
            "UPDATE telemetry_channel SET catalogued = false"
            " WHERE catalogued AND item_id NOT IN (SELECT item_id FROM catalogue)"
        )
        cursor.execute("DROP TABLE catalogue")
