"""What could not be seen: changes that were heard only when the link came back."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

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
        if window.live is None:
            return
        covered = microseconds(window.start)
        for interval in window.live:
            self._add(covered, microseconds(interval.start))
            covered = max(covered, microseconds(interval.end))
        self._add(covered, microseconds(window.end))

    def _add(self, start: int, end: int) -> None:
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
        """Whether the change that a reading tells was out of sight, for want of the link or of trusted
        readings. There must be a reading before it."""
        at = int(held.at[position])
        previous = trusted_before(held, position)
        earliest = at - MEMORY if previous is None else int(held.at[previous])
        away = self.away_since(at)
        since = [max(earliest, away)] if away is not None else []
        if previous != position - 1:
            since.append(earliest if previous is None else int(held.at[previous + 1]))
        if not since or at - min(since) <= SHORTEST_HIDING:
            return None
        return Hiding(min(since) if at - min(since) < MEMORY else None)


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
