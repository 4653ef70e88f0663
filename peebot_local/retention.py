"""`peebot retention`: how long the store keeps what, shown and changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import psycopg
from psycopg import errors
from rich.table import Table

from peebot_local.database import mendable
from peebot_local.errors import MendableError

_MEANINGS = {
    "raw_retention_days": "readings are kept",
    "minute_retention_days": "minutes are kept (hours, days and events for ever)",
    "rejected_retention_days": "rejected updates are kept",
    "compress_after_days": "readings are compressed after (only by TimescaleDB Community)",
}


@dataclass(frozen=True)
class Retention:
    """The settings in days, and what a change has dropped at once (rejections in rows)."""

    days: Mapping[str, int]
    edition: str
    dropped_days: int
    dropped_weeks: int
    dropped_rejections: int


def change_settings(database_url: str, wanted: Mapping[str, int]) -> Retention:
    """Change these settings and drop what is too old by them, in one transaction."""
    dropped = (0, 0, 0)
    with mendable(database_url), psycopg.connect(database_url) as connection:
        for key, days in wanted.items():
            connection.execute("SELECT change_setting(%s, %s)", (key, days))
        if wanted:
            try:
                row = connection.execute("SELECT * FROM maintain_store(unchanged_for => '0')").fetchone()
            except errors.LockNotAvailable as error:
                raise MendableError(
                    "somebody reads what is to be dropped, so nothing was changed; try again in a moment"
                ) from error
            dropped = row or dropped
        settings: dict[str, int] = dict(connection.execute("SELECT key, value FROM setting").fetchall())
        ((edition,),) = connection.execute("SELECT store_edition()").fetchall()
    return Retention(settings, edition, *dropped)


def settings_table(retention: Retention) -> Table:
    """The settings for people."""
    table = Table(title="Retention", title_justify="left", show_header=False, box=None, padding=(0, 2, 0, 0))
    for key, meaning in _MEANINGS.items():
        table.add_row(meaning, f"{retention.days[key]:,} days")
    if retention.dropped_days or retention.dropped_weeks or retention.dropped_rejections:
        table.add_row(
            "dropped now",
            f"{retention.dropped_days} days of readings, {retention.dropped_weeks} weeks of minutes, "
            f"{retention.dropped_rejections:,} rejected updates",
        )
    table.add_row("store", retention.edition)
    return table
