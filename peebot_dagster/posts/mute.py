"""The switch that silences all platforms at once: one row in the store, read with each claim."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import psycopg
from psycopg.rows import class_row

_LOCK = "hashtextextended('peebot:mute', 0)"


@dataclass(frozen=True)
class Mute:
    """Nothing is posted from `muted_at` until `muted_until` (UTC; None: until it is lifted)."""

    muted_at: datetime
    muted_until: datetime | None


def mute(connection: psycopg.Connection, now: datetime, until: datetime | None) -> int:
    """Silence all platforms from now on, in a transaction of its own.

    When this returns no further post will be begun. Returns how many are just on their way, and cannot be
    called back. `until` must be later than `now`.
    """
    with connection.transaction():
        # Claims hold it shared: those that have not seen the mute are through before it is there.
        connection.execute(f"SELECT pg_advisory_xact_lock({_LOCK})")
        connection.execute(
            """
            INSERT INTO posting_mute (muted_at, muted_until) VALUES (%(now)s, %(until)s)
            ON CONFLICT ((true))
            DO UPDATE SET muted_at = excluded.muted_at, muted_until = excluded.muted_until
            """,
            {"now": now, "until": until},
        )
        row = connection.execute("SELECT count(*) FROM post WHERE state = 'claimed'").fetchone()
    return int(row[0]) if row else 0


def unmute(connection: psycopg.Connection) -> bool:
    """Lift the mute, in a transaction of its own. False when there was none."""
    with connection.transaction():
        return connection.execute("DELETE FROM posting_mute RETURNING muted_at").fetchone() is not None


def current_mute(connection: psycopg.Connection, now: datetime) -> Mute | None:
    """The mute that is in force at `now` (UTC)."""
    with connection.cursor(row_factory=class_row(Mute)) as cursor:
        return cursor.execute(
            "SELECT muted_at, muted_until FROM posting_mute WHERE muted_until IS NULL OR muted_until > %s",
            [now],
        ).fetchone()


def hold_mute(connection: psycopg.Connection) -> None:
    """Keep a mute from coming into force until the commit of this transaction."""
    connection.execute(f"SELECT pg_advisory_xact_lock_shared({_LOCK})")
