"""A run's lease: a lock of a session of PostgreSQL, held by the worker that executes the run.

When the worker is killed, or its host is cut off, the server ends the session within 30 s and the lease is
free; a worker that was cut off has ended itself by then. One that stood still as a whole (a paused virtual
machine) goes on when it wakes up, until it next asks the server: for the heartbeat and a time-out, some 13 s,
two may execute the run. What must not be done twice, the database decides itself (posts, by their ledger).
Behind a pooler of transactions (pgbouncer) sessions are not kept: PEEBOT_DATABASE_URL must not lead to one.
"""

from __future__ import annotations

import hashlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import psycopg

from peebot_dagster.store import connect

HEARTBEAT_S = 3.0
"""With the 10 s of the connection's own time-out far below the 30 s after which the server lets go."""

_APPLICATION = "peebot_run_lease"


def _end_this_process() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@contextmanager
def lease(
    database_url: str,
    run_id: str,
    when_lost: Callable[[], None] = _end_this_process,
    heartbeat_s: float = HEARTBEAT_S,
) -> Iterator[bool]:
    """Hold the lease of this run in the block: True; False when another holds it.

    When the session is lost in the block, `when_lost` is called, in another thread.
    """
    with connect(database_url, _APPLICATION) as connection:
        connection.autocommit = True
        row = connection.execute("SELECT pg_try_advisory_lock(%s)", (lease_key(run_id),)).fetchone()
        if row != (True,):
            yield False
            return
        ended = threading.Event()
        watcher = threading.Thread(
            target=_watch, args=(connection, ended, when_lost, heartbeat_s), daemon=True
        )
        watcher.start()
        try:
            yield True
        finally:
            ended.set()
            watcher.join()
            # The server would let go a moment after the session's end. When that is lost, it already has.
            with suppress(psycopg.Error):
                connection.execute("SELECT pg_advisory_unlock(%s)", (lease_key(run_id),))


def is_held(connection: psycopg.Connection, run_id: str) -> bool:
    """Whether a worker holds the lease of this run; `connection` leads to the database of the leases."""
    row = connection.execute(
        """
        SELECT FROM pg_locks
        WHERE locktype = 'advisory' AND granted AND objsubid = 1
            AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
            AND (classid::bigint << 32) | objid::bigint = %s
        """,
        (lease_key(run_id),),
    ).fetchone()
    return row is not None


def _watch(
    connection: psycopg.Connection,
    ended: threading.Event,
    when_lost: Callable[[], None],
    heartbeat_s: float,
) -> None:
    while not ended.wait(heartbeat_s):
        try:
            connection.execute("SELECT")
        except psycopg.Error:
            # Whatever it is: who cannot ask does not know that the lease is still held.
            when_lost()
            return


def lease_key(run_id: str) -> int:
    """The number of the advisory lock of this run."""
    digest = hashlib.sha256(f"peebot run {run_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)
