"""What could not be seen: changes that were heard only when the link came back."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass

import numpy as np

from peebot_dagster.detectors.detector import Window
from peebot_dagster.detectors.held_values import HOUR, SECOND, HeldValues
from peebot_dagster.detectors.level_readings import microseconds

# After a loss of signal each item that has changed is sent again within this time.
CATCH_UP = 10 * SECOND
# Shorter interruptions make no difference to the time of a change.
SHORTEST_HIDING = 5 * SECOND
# How far back it matters since when the link was away: any window that reaches back further tells the same.
MEMORY = 2 * HOUR


@dataclass(frozen=True)
class Hiding:
    """Something was read when it was possible to see again; it happened at any time since `since`.

    `since` is in microseconds since 1970 UTC; None means earlier than two hours before it was read.
    """

    since: int | None


class LinkGaps:
    """The stretches of the window in which the link was not live; none where nothing is known about it."""

    def __init__(self, window: Window) -> None:
        self.known = window.live is not None
        self._starts: list[int] = []
        self._ends: list[int] = []
        self.away: list[tuple[int, int]] = []
        """All times in which the link was not live, however short; the last one may go on."""
        if window.live is None:
            return
        covered = microseconds(window.start)
        for interval in window.live:
            self._add(covered, microseconds(interval.start))
            covered = max(covered, microseconds(interval.end))
        self._add(covered, microseconds(window.end))

    def _add(self, start: int, end: int) -> None:
        if end > start:
            self.away.append((start, end))
        if end - start > SHORTEST_HIDING:
            self._starts.append(start)
            self._ends.append(end)

    def away_since(self, at: int) -> int | None:
        """When the link went away of which a reading at `at` was among the first news; None on a live link.

        Only changes travel: an item that was silent on a live link has not changed.
        """
        gap = bisect_right(self._starts, at) - 1
        return self._starts[gap] if gap >= 0 and at - self._ends[gap] <= CATCH_UP else None

    def hiding(self, held: HeldValues, position: int) -> Hiding | None:
        """Whether the change that a reading tells was out of sight, for want of the link, of a connection or
        of trusted readings. There must be a reading before it."""
        at = int(held.at[position])
        previous = trusted_before(held, position)
        earliest = at - MEMORY if previous is None else int(held.at[previous])
        away = self.away_since(at)
        since = [max(earliest, away)] if away is not None else []
        if away is None and held.is_snapshot is not None and held.is_snapshot[position]:
            # A connection that was away for too short a time, or of which nothing is known.
            since.append(earliest)
        if previous != position - 1:
            since.append(earliest if previous is None else int(held.at[previous + 1]))
        if not since or at - min(since) <= SHORTEST_HIDING:
            return None
        return Hiding(min(since) if at - min(since) < MEMORY else None)


class Sight:
    """When a quantity could be seen: on a live link, once it has caught up, and by readings to be trusted."""

    def __init__(self, held: HeldValues, gaps: LinkGaps) -> None:
        unseen = [(start, end + CATCH_UP) for start, end in gaps.away]
        until = np.append(held.at[1:], held.end) if held.at.size else held.at
        unknown = np.isnan(held.value)
        unseen += zip(held.at[unknown].tolist(), until[unknown].tolist(), strict=True)
        self._starts: list[int] = []
        self._ends: list[int] = []
        for start, end in sorted(unseen):
            if self._ends and start <= self._ends[-1]:
                self._ends[-1] = max(self._ends[-1], end)
            else:
                self._starts.append(start)
                self._ends.append(end)

    def seen(self, start: int, end: int, hidden: int) -> int:
        """The time from `start` to `end` in microseconds, without up to `hidden` of what could not be seen.

        What is to come changes none of it.
        """
        unseen = 0
        for gap in range(bisect_right(self._ends, start), bisect_left(self._starts, end)):
            unseen += min(self._ends[gap], end) - max(self._starts[gap], start)
            if unseen >= hidden:
                break
        return end - start - min(unseen, hidden)


def trusted_before(held: HeldValues, position: int) -> int | None:
    """The position of the last trusted reading before another; None where there is none.

    With untrusted ones in between for two hours, what it said would say nothing.
    """
    before = position - 1
    while before >= 0 and held.value[before] != held.value[before]:
        before -= 1
        if held.at[position] - held.at[before + 1] >= MEMORY:
            return None
    return before if before >= 0 else None
