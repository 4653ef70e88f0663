"""Keeps link_interval: one row per stretch of one state, the open one with a fresh last_seen_at."""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime

import psycopg

from ingest_daemon.link import LinkState, Transition

PENDING = 10_000
"""Transitions that a daemon remembers while another one keeps the link of its source."""

# One writer a source, for as long as its session lives: whoever comes second stands by.
_KEEP = "SELECT pg_try_advisory_lock(hashtextextended('link_interval ' || %s, 0))"
_OPEN_INTERVAL = """
SELECT link_interval_id, state, started_at, last_seen_at
FROM link_interval WHERE source = %s AND ended_at IS NULL FOR UPDATE
"""
_CLOSE = "UPDATE link_interval SET last_seen_at = %(at)s, ended_at = %(at)s WHERE link_interval_id = %(id)s"
_INSERT = """
INSERT INTO link_interval (source, state, started_at, last_seen_at, ended_at) VALUES (%s, %s, %s, %s, %s)
"""
_SEEN = "UPDATE link_interval SET last_seen_at = %s WHERE link_interval_id = %s"
_REVISE = """
INSERT INTO telemetry_revision AS r (hour, revision, readings)
SELECT hour, 1, 0
FROM generate_series(date_trunc('hour', %s::timestamptz, 'UTC'), %s::timestamptz, interval '1 hour') AS hour
ORDER BY hour
ON CONFLICT (hour) DO UPDATE SET revision = r.revision + 1, updated_at = clock_timestamp()
"""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Open:
    interval_id: int
    state: LinkState
    started_at: datetime
    last_seen_at: datetime


class LinkRecorder:
    """Writes the transitions of one daemon's link; the first takes over what a former daemon left open.

    While another daemon keeps the link of the same source, transitions are only remembered; when that one is
    gone, they are written and tell what this one has heard meanwhile (docs/decisions/0012).
    """

    def __init__(self, source: str, *, continues: bool = False) -> None:
        """`continues`: this daemon has recorded before, through another recorder."""
        self._source = source
        self._took_over = continues
        self._kept_on: psycopg.Connection | None = None
        self._stands_by = False
        self._pending: deque[Transition] = deque(maxlen=PENDING)
        # What a former daemon has confirmed is not disproved by a replay that starts again before it.
        self._confirmed_until: datetime | None = None

    def record(self, connection: psycopg.Connection, transition: Transition) -> None:
        """Store a transition, in one transaction, or remember it; the same one again changes nothing."""
        self._pending.append(transition)
        self._catch_up(connection)

    def heartbeat(self, connection: psycopg.Connection, now: datetime) -> None:
        """Confirm the open interval up to `now`; everything received before `now` must be stored already."""
        if not self._catch_up(connection) or not self._took_over:
            return
        with connection.transaction():
            current = self._open_interval(connection)
            if current is None or current.last_seen_at >= now:
                return
            connection.execute(_SEEN, [now, current.interval_id])
            # Whoever has computed the last minute of an hour before this does not know it live to its end.
            if current.state is LinkState.LIVE and _hour(now) != _hour(current.last_seen_at):
                _revise(connection, current.last_seen_at, now)

    def _catch_up(self, connection: psycopg.Connection) -> bool:
        """Write what is pending if the link is this daemon's to keep; whether it is."""
        if not self._keeps(connection):
            return False
        while self._pending:
            self._write(connection, self._pending[0])
            self._pending.popleft()
        return True

    def _keeps(self, connection: psycopg.Connection) -> bool:
        if self._kept_on is connection:
            return True
        row = connection.execute(_KEEP, [self._source]).fetchone()
        stands_by = row != (True,)
        if stands_by != self._stands_by:
            logger.info(
                "another daemon keeps the link of %(source)s: standing by"
                if stands_by
                else "keeping the link of %(source)s now",
                {"source": self._source},
            )
        self._stands_by = stands_by
        self._kept_on = None if stands_by else connection
        return not stands_by

    def _write(self, connection: psycopg.Connection, transition: Transition) -> None:
        with connection.transaction():
            left_open = self._open_interval(connection)
            if left_open is None:
                self._begin(connection, transition.state, transition.at)
                _revise(connection, transition.at, transition.at)
            elif self._took_over:
                self._switch(connection, left_open, transition)
            else:
                self._take_over(connection, left_open, transition)
        if not self._took_over:
            self._took_over = True
            self._confirmed_until = left_open.last_seen_at if left_open else None

    def _switch(self, connection: psycopg.Connection, current: _Open, transition: Transition) -> None:
        if current.state is transition.state:
            return
        at = max(transition.at, current.started_at, self._confirmed_until or current.started_at)
        self._end(connection, current, at)
        self._begin(connection, transition.state, at)
        _revise(connection, min(at, current.last_seen_at), max(at, current.last_seen_at))

    def _take_over(self, connection: psycopg.Connection, left: _Open, transition: Transition) -> None:
        # Between the last sign of the former daemon and the first of this one nobody listened, however short
        # that was; unless this one, which stood by, had begun before.
        uninterrupted = transition.at <= left.last_seen_at or left.state is LinkState.DOWN
        if left.state is transition.state and uninterrupted:
            return
        at = max(transition.at, left.last_seen_at)
        if uninterrupted:
            self._end(connection, left, at)
            self._begin(connection, transition.state, at)
        else:
            self._end(connection, left, left.last_seen_at)
            if transition.state is LinkState.DOWN:
                self._begin(connection, LinkState.DOWN, left.last_seen_at)
            else:
                connection.execute(_INSERT, [self._source, LinkState.DOWN, left.last_seen_at, at, at])
                self._begin(connection, transition.state, at)
        for edge in sorted({_hour(left.last_seen_at), _hour(at)}):
            _revise(connection, edge, edge)

    def _open_interval(self, connection: psycopg.Connection) -> _Open | None:
        row = connection.execute(_OPEN_INTERVAL, [self._source]).fetchone()
        return None if row is None else _Open(row[0], LinkState(row[1]), row[2], row[3])

    def _begin(self, connection: psycopg.Connection, state: LinkState, at: datetime) -> None:
        connection.execute(_INSERT, [self._source, state, at, at, None])

    def _end(self, connection: psycopg.Connection, interval: _Open, at: datetime) -> None:
        connection.execute(_CLOSE, {"at": at, "id": interval.interval_id})


def _revise(connection: psycopg.Connection, start: datetime, end: datetime) -> None:
    connection.execute(_REVISE, [start, end])


def _hour(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
