"""What is not stored yet, in order: in memory, and before that on disk. Between one putter and one taker."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from threading import Condition

from ingest_daemon.portion import Portion, PortionError, decode, encode, first_joined
from ingest_daemon.spool import Spool
from ingest_daemon.spool_record import Record

BATCH = 10_000
"""Updates that are stored at once, or written to the spool at once."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Taken:
    """What is being stored: a portion, and the records of the spool or the portions in memory it is of."""

    portion: Portion
    records: int
    portions: tuple[Portion, ...]


class Backlog:
    """First in, first out, whatever has been to the disk. Taking does not remove: `done` does."""

    def __init__(self, spool: Spool | None = None) -> None:
        self._spool = spool
        self._memory: deque[Portion] = deque()
        self._updates = 0
        self._changed = Condition()

    def put(self, portion: Portion) -> None:
        """Append to what is in memory."""
        with self._changed:
            self._memory.append(portion)
            self._updates += portion.updates
            self._changed.notify_all()

    def in_memory(self) -> int:
        """Updates that are only in memory."""
        return self._updates

    def is_in_memory(self) -> bool:
        """Whether anything is only in memory: updates, or news of the link."""
        return bool(self._memory)

    def on_disk(self) -> tuple[int, int]:
        """Updates in the spool, and its size in bytes."""
        with self._changed:
            return (0, 0) if self._spool is None else (self._spool.readings, self._spool.size_bytes)

    def is_on_disk(self) -> bool:
        """Whether anything waits in the spool."""
        with self._changed:
            return self._spool is not None and len(self._spool) > 0

    def take_damage(self) -> tuple[int, int]:
        """Records of the spool found torn since the last call, and the updates in them as far as known."""
        with self._changed:
            if self._spool is None:
                return 0, 0
            damage = self._spool.damaged_records, self._spool.damaged_readings
            self._spool.damaged_records = self._spool.damaged_readings = 0
            return damage

    def wait(self, timeout_s: float) -> None:
        """Block until something is put, at most `timeout_s` seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self._memory, timeout_s)

    def move_to_disk(self) -> None:
        """Write all that is in memory to the spool; raises SpoolFullError with the rest still in memory."""
        with self._changed:
            while self._memory and self._spool is not None:
                portion, count = first_joined(self._memory, BATCH)
                self._spool.append(encode(portion), portion.updates)
                self._forget(count)

    def take(self) -> Taken | None:
        """The oldest updates, BATCH at most, to be stored; None when there is nothing."""
        while True:
            with self._changed:
                records = [] if self._spool is None else self._spool.peek(BATCH)
                memory = () if records else tuple(islice(self._memory, BATCH))
            if memory:
                portion, count = first_joined(memory, BATCH)
                return Taken(portion, 0, memory[:count])
            if not records:
                return None
            try:
                portion, count = first_joined(_decoded(records), BATCH)
                return Taken(portion, count, ())
            except PortionError as error:
                self._leave_out_first(records[0], error)

    def done(self, taken: Taken) -> None:
        """What was taken is stored. If it has gone to the disk meanwhile, it comes again from there."""
        with self._changed:
            if taken.records and self._spool is not None:
                # A transition must not come again after a later one.
                self._spool.acknowledge(taken.records, durably=taken.portion.transition is not None)
            elif taken.portions and self._memory and self._memory[0] is taken.portions[0]:
                self._forget(len(taken.portions))

    def _leave_out_first(self, record: Record, error: PortionError) -> None:
        logger.error(
            "a record of the spool with %(updates)d updates is left out: %(error)s",
            {"updates": record.readings, "error": error},
        )
        with self._changed:
            assert self._spool is not None  # noqa: S101  the record came from it
            self._spool.acknowledge(1)
            self._spool.damaged_records += 1
            self._spool.damaged_readings += record.readings

    def _forget(self, count: int) -> None:
        for _ in range(count):
            self._updates -= self._memory.popleft().updates


def _decoded(records: Sequence[Record]) -> Iterator[Portion]:
    for number, record in enumerate(records):
        try:
            portion = decode(record.payload)
        except PortionError:
            if number:
                # Its turn comes when those before it are done.
                return
            raise
        yield portion
