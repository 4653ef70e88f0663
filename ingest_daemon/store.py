"""The daemon's side of the database: takes what was heard, and has a thread of its own store it, in order.

While the database is away, and until what came meanwhile is merged, all goes through the spool on disk.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from ingest_daemon.backlog import BATCH, Backlog
from ingest_daemon.committer import Committer, catalogued_items
from ingest_daemon.known_items import recall, remember
from ingest_daemon.link import Transition
from ingest_daemon.metrics import Metrics
from ingest_daemon.outage import AWAY, Outage
from ingest_daemon.portion import Origin, Portion
from ingest_daemon.reading import Reading, Rejection
from ingest_daemon.rejection_limit import RejectionLimit
from ingest_daemon.spool import Spool, SpoolFullError
from ingest_daemon.writer import StoredCounts

HEARTBEAT_S = 0.5
STUCK_S = 1.0
"""Seconds after which a database that answers nothing counts as away."""
TELL_LOST_EVERY_S = 5.0
TRY_FULL_SPOOL_EVERY_S = 1.0
REPORT_S = 60.0
LAST_FLUSH_S = 5.0
IDLE_S = 0.2

logger = logging.getLogger(__name__)


class Store:
    """Keeps what is to be stored until it is; never raises because the database is away or a disk full.

    For one thread. It takes `capacity` updates into memory, and the spool, if there is one, what it holds.
    """

    def __init__(
        self,
        database_url: str,
        source: str,
        capacity: int,
        metrics: Metrics | None = None,
        spool: Spool | None = None,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database_url = database_url
        self._capacity = capacity
        self._metrics = metrics or Metrics()
        self._spool = spool
        self._monotonic_s = monotonic_s
        self._backlog = Backlog(spool)
        self._committer = Committer(database_url, self._metrics)
        self._outage = Outage()
        self._catalogue_outage = Outage()
        self._origin = Origin(secrets.token_hex(8), source, continues=False)
        self._limit = RejectionLimit()
        self._lost = 0
        self._tell_lost_s = float("-inf")
        self._heartbeat_s = float("-inf")
        self._try_spool_s = float("-inf")
        self._spool_is_full = False
        self._metrics.spool_limit_bytes.set(0 if spool is None else spool.limit_bytes)
        self._progress_s = monotonic_s()
        self._counts = self._reported_counts = StoredCounts(0, 0, 0)
        self._reported_s = monotonic_s()
        self._stopping = threading.Event()
        self._fault: BaseException | None = None
        self._thread = threading.Thread(target=self._store_until_stopped, name="store", daemon=True)

    def waiting(self) -> int:
        """The number of updates that are not stored yet."""
        return self._backlog.in_memory() + self._backlog.on_disk()[0]

    def in_memory(self) -> int:
        """The number of updates that would be lost with the process."""
        return self._backlog.in_memory()

    def room(self) -> int:
        """How many updates can be taken now; 0 when neither the database nor the disk takes any."""
        return max(self._capacity - self._backlog.in_memory(), 0)

    def spool_is_full(self) -> bool:
        """Whether the spool, or its disk, took no more when it was last tried."""
        return self._spool_is_full

    def away_since_s(self) -> float | None:
        """Since when (monotonic) the database can't be used or answers nothing; None when all is well."""
        if self._outage.since_s is None and self._database_is_away(self._monotonic_s()):
            return self._progress_s
        return self._catalogue_outage.since_s if self._outage.since_s is None else self._outage.since_s

    def items(self, monotonic_s: float) -> Sequence[str] | None:
        """The items of the channel catalogue; None when nobody can tell (now).

        With a spool, a database that is away is no reason not to listen: the catalogue as last known will do.
        """
        if not self._catalogue_outage.may_try(monotonic_s):
            return None
        try:
            items = catalogued_items(self._database_url)
        except AWAY as error:
            self._catalogue_outage.failed(error, "the channels are not known", monotonic_s)
            known = None if self._spool is None else recall(self._spool.folder)
            if known is not None:
                # Whether the database is away is now for the storing thread to tell.
                self._catalogue_outage = Outage()
            return known
        self._catalogue_outage.is_over()
        if self._spool is not None:
            remember(self._spool.folder, items)
        return items

    def add(self, results: Iterable[Reading | Rejection]) -> None:
        """Take readings and rejections, however many there is room for."""
        readings: list[Reading] = []
        rejections: list[Rejection] = []
        for result in results:
            if isinstance(result, Reading):
                readings.append(result)
            else:
                rejections.append(result)
        for start in range(0, len(readings), BATCH):
            self._backlog.put(Portion(self._origin, readings[start : start + BATCH]))
        for rejection in rejections:
            count = rejection.fields.get("count")
            self._metrics.rejected(rejection.reason, count if isinstance(count, int) else 1)
        self._put_rejections(self._limit.admit(rejections))

    def add_transitions(self, transitions: Iterable[Transition]) -> None:
        """Take transitions of the link; they are stored after the readings taken so far."""
        for transition in transitions:
            self._backlog.put(Portion(self._origin, transition=transition))
            self._origin = Origin(self._origin.run, self._origin.source, continues=True)

    def add_lost(self, count: int) -> None:
        """Take the number of updates that were dropped because a queue was full."""
        if count:
            self._lost += count
            self._metrics.rejected("queue_overflow", count)

    def flush(self, now: datetime | None, monotonic_s: float, known_until: datetime | None = None) -> bool:
        """Confirm the link up to `now`, or only to `known_until`; what the database refuses goes to the disk.

        True when nothing is in memory only. Raises what the storing thread has died of.
        """
        self._check_thread()
        if now is not None:
            self._put_rejections(self._limit.finished(now))
            self._put_losses(now, monotonic_s)
            self._put_damage(now)
            if monotonic_s - self._heartbeat_s >= HEARTBEAT_S:
                self._heartbeat_s = monotonic_s
                self._backlog.put(Portion(self._origin, seen_at=known_until or now))
        if self._backlog.is_on_disk() or self._database_is_away(monotonic_s):
            self._move_to_disk(monotonic_s)
        else:
            self._spool_takes_again()
        self._show_depth()
        self._report(monotonic_s)
        return not self._backlog.is_in_memory()

    def finish(
        self, now: datetime | None, known_until: datetime | None = None, timeout_s: float = LAST_FLUSH_S
    ) -> bool:
        """Store what is left, or put it on the disk, and end; False when something is lost.

        The link is confirmed up to `known_until`, or else up to `now`.
        """
        deadline_s = self._monotonic_s() + timeout_s
        if now is not None:
            self._put_rejections(self._limit.finished(None))
        self._tell_lost_s = self._heartbeat_s = float("-inf")
        is_safe = self.flush(now, self._monotonic_s(), known_until)
        while not is_safe and self._monotonic_s() < deadline_s:
            time.sleep(0.02)
            self._check_thread()
            is_safe = not self._backlog.is_in_memory()
            if not is_safe and self._database_is_away(self._monotonic_s()):
                is_safe = self._move_to_disk(self._monotonic_s())
        if not is_safe:
            self._try_spool_s = float("-inf")
            is_safe = self._move_to_disk(self._monotonic_s())
        if not is_safe:
            logger.error(
                "stopped with %(updates)d updates that could not be stored",
                {"updates": self._backlog.in_memory()},
            )
        elif on_disk := self._backlog.on_disk()[0]:
            logger.info("%(updates)d updates wait in the spool for the next start", {"updates": on_disk})
        self.close()
        return is_safe

    def close(self) -> None:
        """End at once; what is in memory only is lost."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(timeout=2.0)
        if self._spool is not None and not self._thread.is_alive():
            self._spool.close()

    def _check_thread(self) -> None:
        if self._thread.ident is None:
            self._progress_s = self._monotonic_s()
            self._thread.start()
        if self._fault is not None:
            self._move_to_disk(self._monotonic_s())
            raise self._fault

    def _database_is_away(self, monotonic_s: float) -> bool:
        return self._outage.since_s is not None or monotonic_s - self._progress_s > STUCK_S

    def _move_to_disk(self, monotonic_s: float) -> bool:
        if self._spool is not None and monotonic_s >= self._try_spool_s:
            try:
                self._backlog.move_to_disk()
            except SpoolFullError as error:
                self._try_spool_s = monotonic_s + TRY_FULL_SPOOL_EVERY_S
                if not self._spool_is_full:
                    logger.error(
                        "%(error)s: updates stay in memory, %(at_most)d at most",
                        {"error": error, "at_most": self._capacity},
                    )
                self._spool_is_full = True
            else:
                self._spool_takes_again()
        return not self._backlog.is_in_memory()

    def _spool_takes_again(self) -> None:
        if self._spool_is_full:
            logger.info("the spool takes updates again")
        self._spool_is_full = False

    def _put_rejections(self, rejections: Sequence[Rejection]) -> None:
        if rejections:
            self._backlog.put(Portion(self._origin, rejections=rejections))

    def _put_losses(self, now: datetime, monotonic_s: float) -> None:
        if self._lost and monotonic_s - self._tell_lost_s >= TELL_LOST_EVERY_S:
            self._tell_lost_s = monotonic_s
            logger.error("%(updates)d updates are lost: the queue was full", {"updates": self._lost})
            lost = Rejection("*", {"count": self._lost}, "queue_overflow", now)
            self._put_rejections(self._limit.admit([lost]))
            self._lost = 0

    def _put_damage(self, now: datetime) -> None:
        records, updates = self._backlog.take_damage()
        if records:
            logger.error(
                "%(records)d records of the spool were torn, with %(updates)d updates or more",
                {"records": records, "updates": updates},
            )
            self._metrics.rejected("spool_damaged", max(updates, 1))
            damage = Rejection("*", {"records": records, "count": updates}, "spool_damaged", now)
            self._put_rejections(self._limit.admit([damage]))

    def _show_depth(self) -> None:
        readings, size_bytes = self._backlog.on_disk()
        self._metrics.spool_readings.set(readings)
        self._metrics.spool_bytes.set(size_bytes)
        self._metrics.spool_full.set(self._spool_is_full)

    def _report(self, monotonic_s: float) -> None:
        if monotonic_s - self._reported_s < REPORT_S:
            return
        self._reported_s = monotonic_s
        before, self._reported_counts = self._reported_counts, self._counts
        logger.info(
            "in the last minute: %(stored)d stored, %(duplicates)d duplicates, %(rejected)d rejected; "
            "%(in_memory)d wait in memory, %(in_spool)d in the spool",
            {
                "stored": self._counts.stored - before.stored,
                "duplicates": self._counts.duplicates - before.duplicates,
                "rejected": self._counts.rejected - before.rejected,
                "in_memory": self._backlog.in_memory(),
                "in_spool": self._backlog.on_disk()[0],
            },
        )

    def _store_until_stopped(self) -> None:
        try:
            while not self._stopping.is_set():
                self._store_next()
        except BaseException as fault:  # the main thread raises it
            self._fault = fault
        finally:
            self._committer.close()

    def _store_next(self) -> None:
        taken = self._backlog.take()
        if taken is None:
            self._progress_s = self._monotonic_s()
            self._backlog.wait(IDLE_S)
            return
        try:
            counts = self._committer.commit(taken.portion)
        except AWAY as error:
            self._committer.close()
            in_memory, (on_disk, _) = self._backlog.in_memory(), self._backlog.on_disk()
            waiting = f"{in_memory + on_disk} updates wait, {on_disk} of them in the spool"
            self._stopping.wait(self._outage.failed(error, waiting, self._monotonic_s()))
            return
        self._backlog.done(taken)
        self._counts += counts
        self._progress_s = self._monotonic_s()
        self._outage.is_over()
