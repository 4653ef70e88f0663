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
    """Make the chunks of the next days and drop what is too old by the settings and the clock of the store.

    In two transactions: what takes long and makes nobody wait comes before what readers wait for.
    """
    with connection.transaction():
        ((rejections,),) = connection.execute("SELECT drop_old_rejections_now()").fetchall()
    with connection.transaction():
        ((days, weeks, more_rejections),) = connection.execute(
            "SELECT reading_chunks_dropped, minute_chunks_dropped, rejections_dropped"
            " FROM maintain_store_now()"
        ).fetchall()
    return Maintenance(days, weeks, rejections + more_rejections)


@dataclass(frozen=True)
class Ordering:
    """Starts (UTC) of the chunks that were put in order, and of those left as they are with the reason."""

    ordered: tuple[datetime, ...]
    left: Mapping[datetime, str]


def order_chunks(
    connection: psycopg.Connection, as_of: datetime | None = None, at_most: int | None = None
) -> Ordering:
    """Put each day of readings that was over at `as_of` (UTC) in the order in which it is read, once.

    `as_of` None: now, by the clock of the store; only its owner may say another time.
    The newest first, each in a transaction of its own; meanwhile who reads or stores readings of this day
    waits. No more than `at_most` days; what does not succeed is left for the next time, too. Raises
    ValueError within a transaction: it would hold all days until its end.
    """
    if connection.info.transaction_status is not TransactionStatus.IDLE:
        raise ValueError("each chunk wants a transaction of its own, and one is open")
    asked = () if as_of is None else (as_of,)
    to_order = (
        "SELECT starts_at FROM chunks_to_order()"
        if as_of is None
        else "SELECT starts_at FROM chunks_to_order(%s)"
    )
    order = "SELECT order_chunk_now(%s)" if as_of is None else "SELECT order_chunk(%s, %s)"
    with connection.transaction():
        starts = connection.execute(to_order, asked).fetchall()
    ordered: list[datetime] = []
    left: dict[datetime, str] = {}
    for (start,) in starts:
        if len(ordered) == at_most:
            break
        try:
            with connection.transaction():
                ((is_done,),) = connection.execute(order, (start, *asked)).fetchall()
        except _TRY_AGAIN as error:
            left[start] = error.diag.message_primary or type(error).__name__
        else:
            if is_done:
                ordered.append(start)
    return Ordering(tuple(ordered), left)
