"""Brings portions into the database, over one connection at a time; a refused row holds up no other."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from ingest_daemon.link_store import LinkRecorder
from ingest_daemon.metrics import Metrics
from ingest_daemon.outage import one_line
from ingest_daemon.portion import Portion
from ingest_daemon.reading import Reading, Rejection
from ingest_daemon.rejection_limit import RejectionLimit
from ingest_daemon.writer import StoredCounts, Writer

# A server that has vanished without a word must not be waited for for minutes.
_CONNECTION_DEFAULTS = make_conninfo(
    connect_timeout=5, keepalives_idle=10, tcp_user_timeout=10_000, application_name="peebot ingest_daemon"
)
_REFUSED = (psycopg.DataError, psycopg.IntegrityError)
_ITEMS = "SELECT item_id FROM telemetry_channel WHERE catalogued ORDER BY channel_id"

logger = logging.getLogger(__name__)


def conninfo(database_url: str) -> str:
    """The URL with our defaults where it is silent; of several hosts in it the first that fits is taken."""
    return make_conninfo(_CONNECTION_DEFAULTS, **conninfo_to_dict(database_url))


def catalogued_items(database_url: str) -> Sequence[str]:
    """The items of the channel catalogue; raises psycopg.Error, also when there is none."""
    with psycopg.connect(conninfo(database_url), autocommit=True) as connection:
        items = [item for (item,) in connection.execute(_ITEMS)]
    if not items:
        raise psycopg.ProgrammingError("telemetry_channel holds no channel")
    return items


class Committer:
    """For one thread. Raises psycopg's errors when the database can't be used; then `close` and try again."""

    def __init__(self, database_url: str, metrics: Metrics) -> None:
        self._conninfo = conninfo(database_url)
        self._metrics = metrics
        self._connection: psycopg.Connection | None = None
        self._writer: Writer | None = None
        self._refusals = RejectionLimit()
        self._run = ""
        self._link: LinkRecorder | None = None

    def commit(self, portion: Portion) -> StoredCounts:
        """Store all of a portion; what of it is stored already stays as it is."""
        connection, writer = self._connect()
        counts = StoredCounts(0, 0, 0)
        if portion.updates:
            counts = self._store(writer, portion.readings, portion.rejections)
        origin = portion.origin
        if self._link is None or self._run != origin.run:
            self._run = origin.run
            self._link = LinkRecorder(origin.source, continues=origin.continues)
        if portion.transition is not None:
            self._link.record(connection, portion.transition)
        if portion.seen_at is not None:
            self._link.heartbeat(connection, portion.seen_at)
        return counts

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
            self._writer = None

    def _connect(self) -> tuple[psycopg.Connection, Writer]:
        if self._connection is None or self._writer is None:
            self._connection = psycopg.connect(self._conninfo, autocommit=True)
            # The second: what a broken connection leaves behind must not hold its locks for hours.
            self._connection.execute(
                "SET statement_timeout = '60s'; SET idle_in_transaction_session_timeout = '30s'"
            )
            self._writer = Writer(self._connection)
        return self._connection, self._writer

    def _store(
        self, writer: Writer, readings: Sequence[Reading], rejections: Sequence[Rejection]
    ) -> StoredCounts:
        started_s = time.perf_counter()
        try:
            counts = writer.store(readings, rejections)
        except _REFUSED as error:
            return self._store_apart(writer, [*readings, *rejections], error)
        self._metrics.copy_seconds.observe(time.perf_counter() - started_s)
        self._metrics.stored.inc(counts.stored)
        self._metrics.duplicates.inc(counts.duplicates)
        if readings:
            self._metrics.committed(
                max(reading.ts for reading in readings), max(reading.received_at for reading in readings)
            )
        return counts

    def _store_apart(
        self, writer: Writer, results: Sequence[Reading | Rejection], error: psycopg.Error
    ) -> StoredCounts:
        """Halve what the database refuses until the rows are found that it means."""
        if len(results) == 1:
            return self._store_refused(writer, results[0], error)
        middle = len(results) // 2
        counts = StoredCounts(0, 0, 0)
        for half in (results[:middle], results[middle:]):
            readings = [result for result in half if isinstance(result, Reading)]
            rejections = [result for result in half if isinstance(result, Rejection)]
            counts += self._store(writer, readings, rejections)
        return counts

    def _store_refused(
        self, writer: Writer, result: Reading | Rejection, error: psycopg.Error
    ) -> StoredCounts:
        if isinstance(result, Rejection):
            # Ours, and made to be storable.
            raise error
        logger.error(
            "the database refuses a reading of %(item)s: %(error)s",
            {"item": result.item, "error": one_line(error)},
        )
        self._metrics.rejected("database_refused")
        fields = {"ts": result.ts.isoformat(), "Value": result.raw_value, "Status.Class": result.status_class}
        rejection = Rejection(result.item, fields, "database_refused", result.received_at)
        rejections = self._refusals.admit([rejection])
        return self._store(writer, (), rejections) if rejections else StoredCounts(0, 0, 0)
