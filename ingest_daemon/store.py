"""The daemon's side of the database: a bounded backlog in front, patience behind."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Iterable, Sequence
from datetime import datetime

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from ingest_daemon.backoff import Backoff
from ingest_daemon.bounded_queue import BoundedQueue
from ingest_daemon.link import Transition
from ingest_daemon.link_store import LinkRecorder
from ingest_daemon.metrics import Metrics
from ingest_daemon.reading import Reading, Rejection
from ingest_daemon.writer import StoredCounts, Writer

BATCH = 10_000
HEARTBEAT_S = 0.5
FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 5.0
TRANSITIONS = 10_000
REPORT_S = 60.0

# A server that has vanished without a word must not hold up the main loop for minutes.
_CONNECTION_DEFAULTS = make_conninfo(
    connect_timeout=5, keepalives_idle=10, tcp_user_timeout=10_000, application_name="peebot ingest_daemon"
)

# A refused row is no reason to wait for the database; everything else is, even a missing schema or grant.
_AWAY = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    psycopg.InternalError,
    psycopg.ProgrammingError,
    psycopg.NotSupportedError,
)
_REFUSED = (psycopg.DataError, psycopg.IntegrityError)

logger = logging.getLogger(__name__)


class Store:
    """Keeps what is to be stored until it is stored; never raises because the database is away."""

    def __init__(self, database_url: str, source: str, capacity: int, metrics: Metrics | None = None) -> None:
        self._conninfo = make_conninfo(_CONNECTION_DEFAULTS, **conninfo_to_dict(database_url))
        self._backlog: BoundedQueue[Reading | Rejection] = BoundedQueue(capacity)
        self._transitions: deque[Transition] = deque(maxlen=TRANSITIONS)
        self._link = LinkRecorder(source)
        self._lost = 0
        self._metrics = metrics or Metrics()
        self._away_since_s: float | None = None
        self._connection: psycopg.Connection | None = None
        self._writer: Writer | None = None
        self._backoff = Backoff(FIRST_PAUSE_S, LONGEST_PAUSE_S)
        self._failures = 0
        self._complaint = ""
        self._complain_again_s = 0.0
        self._heartbeat_s = float("-inf")
        self._counts = StoredCounts(0, 0, 0)
        self._reported_s: float | None = None

    def waiting(self) -> int:
        """The number of updates that are not stored yet."""
        return len(self._backlog)

    def away_since_s(self) -> float | None:
        """Since when (monotonic) the database can't be used; None when it can, as far as is known."""
        return self._away_since_s

    def add(self, results: Iterable[Reading | Rejection]) -> None:
        """Take readings and rejections, to be stored by the next flush."""
        self._backlog.extend(results)

    def add_transitions(self, transitions: Iterable[Transition]) -> None:
        """Take transitions of the link, to be stored by the next flush after the readings."""
        self._transitions.extend(transitions)

    def add_lost(self, count: int) -> None:
        """Take the number of updates that were dropped because a queue was full."""
        if count:
            self._lost += count
            self._metrics.rejected("queue_overflow", count)

    def items(self, monotonic_s: float) -> Sequence[str] | None:
        """The items of the channel catalogue; None when the database can't tell (now)."""
        if not self._backoff.due(monotonic_s):
            return None
        try:
            rows = (
                self._connect()[0]
                .execute("SELECT item_id FROM telemetry_channel WHERE catalogued ORDER BY channel_id")
                .fetchall()
            )
            if not rows:
                raise psycopg.ProgrammingError("telemetry_channel holds no channel")
        except _AWAY as error:
            self._failed(error, monotonic_s)
            return None
        self._succeeded()
        return [row[0] for row in rows]

    def flush(self, now: datetime | None, monotonic_s: float) -> bool:
        """Store all there is and confirm the link up to `now`; False when the database is away."""
        if not self._backoff.due(monotonic_s):
            return False
        try:
            connection, writer = self._connect()
            self._flush_backlog(writer)
            self._flush_lost(writer, now)
            while self._transitions:
                self._link.record(connection, self._transitions[0])
                self._transitions.popleft()
            if now is not None and monotonic_s - self._heartbeat_s >= HEARTBEAT_S:
                self._link.heartbeat(connection, now)
                self._heartbeat_s = monotonic_s
        except _AWAY as error:
            self._failed(error, monotonic_s)
            return False
        self._succeeded()
        self._report(monotonic_s)
        return True

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
            self._writer = None

    def _connect(self) -> tuple[psycopg.Connection, Writer]:
        if self._connection is None or self._writer is None:
            self._connection = psycopg.connect(self._conninfo, autocommit=True)
            self._connection.execute("SET statement_timeout = '60s'")
            self._writer = Writer(self._connection)
        return self._connection, self._writer

    def _flush_backlog(self, writer: Writer) -> None:
        while batch := self._backlog.take(BATCH):
            try:
                self._store(writer, batch)
            except BaseException:
                # What was stored of it already is forgotten by the next merge.
                self._backlog.put_back(batch)
                raise

    def _store(self, writer: Writer, batch: list[Reading | Rejection]) -> None:
        readings = [result for result in batch if isinstance(result, Reading)]
        rejections = [result for result in batch if isinstance(result, Rejection)]
        try:
            started_s = time.perf_counter()
            counts = writer.store(readings, rejections)
            self._metrics.copy_seconds.observe(time.perf_counter() - started_s)
        except _REFUSED as error:
            if len(batch) > 1:
                middle = len(batch) // 2
                self._store(writer, batch[:middle])
                self._store(writer, batch[middle:])
                return
            if rejections:
                raise
            logger.error("the database refuses a reading of %s: %s", readings[0].item, _one_line(error))
            self._metrics.rejected("database_refused")
            self._store(writer, [_refused(readings[0])])
            return
        self._counts = StoredCounts(
            self._counts.stored + counts.stored,
            self._counts.duplicates + counts.duplicates,
            self._counts.rejected + counts.rejected,
        )
        self._metrics.stored.inc(counts.stored)
        self._metrics.duplicates.inc(counts.duplicates)
        if readings:
            self._metrics.committed(
                max(reading.ts for reading in readings), max(reading.received_at for reading in readings)
            )

    def _flush_lost(self, writer: Writer, now: datetime | None) -> None:
        self._count_dropped()
        lost = self._lost
        if not lost or now is None:
            return
        logger.error("%d updates are lost: the queue was full", lost)
        self._store(writer, [Rejection("*", {"count": lost}, "queue_overflow", now)])
        self._lost = 0

    def _count_dropped(self) -> None:
        self.add_lost(self._backlog.take_dropped())

    def _failed(self, error: Exception, monotonic_s: float) -> None:
        pause_s = self._backoff.failed(monotonic_s)
        self._failures += 1
        self._count_dropped()
        if self._away_since_s is None:
            self._away_since_s = monotonic_s
        self.close()
        # While it lasts, one line a minute.
        if self._complaint == (complaint := _one_line(error)) and monotonic_s < self._complain_again_s:
            return
        self._complaint, self._complain_again_s = complaint, monotonic_s + REPORT_S
        is_away = isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
        logger.warning(
            "%s: %s; %d updates wait, %d lost; trying again in %.1f s",
            "database away" if is_away else "database not usable (is it migrated?)",
            complaint,
            self.waiting(),
            self._lost,
            pause_s,
        )

    def _succeeded(self) -> None:
        if self._failures:
            logger.info("the database is back after %d failed attempts", self._failures)
        self._failures = 0
        self._away_since_s = None
        self._complaint = ""
        self._backoff.succeeded()

    def _report(self, monotonic_s: float) -> None:
        if self._reported_s is None:
            self._reported_s = monotonic_s
        if monotonic_s - self._reported_s < REPORT_S:
            return
        self._reported_s = monotonic_s
        counts, self._counts = self._counts, StoredCounts(0, 0, 0)
        logger.info(
            "in the last minute: %d stored, %d duplicates, %d rejected",
            counts.stored,
            counts.duplicates,
            counts.rejected,
        )


def _refused(reading: Reading) -> Rejection:
    fields = {"ts": reading.ts.isoformat(), "Value": reading.raw_value, "Status.Class": reading.status_class}
    return Rejection(reading.item, fields, "database_refused", reading.received_at)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
