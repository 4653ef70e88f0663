"""When rows became visible to others: a bystander that listens to the writer's notifications."""

from __future__ import annotations

import threading
import time
from bisect import bisect_right
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import psycopg

_LOOK = """
SELECT pg_snapshot_xmax(snapshot)::text::bigint,
       ARRAY(SELECT running::text::bigint FROM pg_snapshot_xip(snapshot) AS running),
       (SELECT coalesce(sum(readings), 0)::bigint FROM telemetry_revision)
FROM pg_current_snapshot() AS snapshot
"""
_XID_BITS = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Look:
    """At `seen_ms` (since 1970) the transactions below `xmax` were over, save the `running` ones."""

    seen_ms: float
    xmax: int
    running: frozenset[int]
    readings: int

    def sees(self, transaction: int) -> bool:
        """Whether what the transaction wrote was visible."""
        return transaction < self.xmax and transaction not in self.running


class CommitLog:
    """Looks at the database at each NOTIFY telemetry_stored, in a thread; tells `on_commit` the readings.

    The moment of a look is taken after its answer has come, so a commit is dated late rather than early.
    """

    def __init__(self, database_url: str, on_commit: Callable[[int], None]) -> None:
        self._connection = psycopg.connect(database_url, autocommit=True)
        self._connection.execute("LISTEN telemetry_stored")
        self._on_commit = on_commit
        self._looks: list[Look] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="commit log", daemon=True)
        self._thread.start()

    @property
    def readings(self) -> int:
        """How many readings are committed, as far as is seen."""
        return self._looks[-1].readings if self._looks else 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._connection.close()

    def end(self) -> tuple[Look, ...]:
        """Stop listening; all looks in order, with a last one taken now."""
        self._stop.set()
        self._thread.join()
        self._looks.append(self._look())
        return tuple(self._looks)

    def _watch(self) -> None:
        while not self._stop.is_set():
            # Not in a loop over the generator: it holds the connection until it ends.
            if list(self._connection.notifies(timeout=0.1, stop_after=1)):
                self._looks.append(look := self._look())
                self._on_commit(look.readings)

    def _look(self) -> Look:
        row = self._connection.execute(_LOOK).fetchone()
        assert row is not None  # noqa: S101  a SELECT of functions has one row
        return Look(time.time() * 1000, row[0] & _XID_BITS, frozenset(x & _XID_BITS for x in row[1]), row[2])


def commit_times(transactions: Iterable[int], looks: tuple[Look, ...]) -> dict[int, float]:
    """For each transaction the first moment (ms since 1970) at which its rows were seen."""
    xmaxes = [look.xmax for look in looks]
    times = {}
    for transaction in transactions:
        first = bisect_right(xmaxes, transaction)
        times[transaction] = next(look.seen_ms for look in looks[first:] if look.sees(transaction))
    return times
