"""What the store needs each night: room for the next days, old data dropped, closed days put in order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import psycopg
from psycopg import errors
from psycopg.pq import TransactionStatus

_TRY_AGAIN = (errors.LockNotAvailable, errors.DeadlockDetected, errors.QueryCanceled, errors.DiskFull)
"""What befalls one chunk and says nothing of the next: somebody uses it, or it needs more than is free."""


@dataclass(frozen=True)
class Maintenance:
    """What was dropped: days of readings, weeks of minutes, rows of rejected updates."""

    reading_chunks_dropped: int
    minute_chunks_dropped: int
    rejections_dropped: int


def maintain_store(connection: psycopg.Connection) -> Maintenance:
    """Make the chunks of the next days and drop what is too old by the settings, in one transaction."""
    with connection.transaction():
        rows = connection.execute(
            "SELECT reading_chunks_dropped, minute_chunks_dropped, rejections_dropped FROM maintain_store()"
        )
        (dropped,) = rows.fetchall()
    return Maintenance(*dropped)


@dataclass(frozen=True)
class Ordering:
    """Starts (UTC) of the chunks that were put in order, and of those left as they are with the reason."""

    ordered: tuple[datetime, ...]
    left: Mapping[datetime, str]


def order_chunks(connection: psycopg.Connection, as_of: datetime, at_most: int | None = None) -> Ordering:
    """Put each day of readings that was over at `as_of` (UTC) in the order in which it is read, once.

    The newest first, each in a transaction of its own; meanwhile who reads or stores readings of this day
    waits. No more than `at_most` days; what does not succeed is left for the next time, too. Raises
    ValueError within a transaction: it would hold all days until its end.
    """
    if connection.info.transaction_status is not TransactionStatus.IDLE:
        raise ValueError("each chunk wants a transaction of its own, and one is open")
    with connection.transaction():
        starts = connection.execute("SELECT starts_at FROM chunks_to_order(%s)", (as_of,)).fetchall()
    ordered: list[datetime] = []
    left: dict[datetime, str] = {}
    for (start,) in starts:
        if len(ordered) == at_most:
            break
        try:
            with connection.transaction():
                ((is_done,),) = connection.execute("SELECT order_chunk(%s, %s)", (start, as_of)).fetchall()
        except _TRY_AGAIN as error:
            left[start] = error.diag.message_primary or type(error).__name__
        else:
            if is_done:
                ordered.append(start)
    return Ordering(tuple(ordered), left)
