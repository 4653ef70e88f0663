"""What assets and sensors are given to work with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dagster as dg
import psycopg
from pydantic import Field

from peebot_dagster.store import connect


class Store(dg.ConfigurableResource[Any]):
    """The database that holds telemetry, events and posts."""

    database_url: str = Field(description="libpq URL of the store; comes from PEEBOT_DATABASE_URL.")

    @contextmanager
    def connect(self) -> Iterator[psycopg.Connection]:
        """A short connection: sensors are given a new resource at each tick, so a pool would not live."""
        with connect(self.database_url) as connection:
            yield connection
