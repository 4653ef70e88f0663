"""From the readings of a level to its steps, each with what is known about when it really happened."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

from peebot_dagster.detectors.backlash import Backlash
from peebot_dagster.detectors.detector import Window
from peebot_dagster.detectors.level_readings import ItemReadings, microseconds

SECOND = 1_000_000
HOUR = 3600 * SECOND

# A step depends on nothing older than this, so that any window that reaches back further finds the same step.
MEMORY = 12 * HOUR
# Less than one 1 % step of a visit (6 s) goes unseen in a shorter interruption of the link.
SHORTEST_HIDING = 5 * SECOND
# Without knowledge of the link: a tank at rest is silent for hours, but a rise by 2 % or more in one reading
# after a minute of silence went unseen.
LONG_SILENCE = 60 * SECOND
HIDDEN_STEP_PERCENT = 2.0
FIRST_WORD = 15 * SECOND


@dataclass(frozen=True)
class Step:
    """A movement of the level by `size` (%, signed) that was read at `at` (microseconds since 1970 UTC).

    `level` is the level (%) after it, `jumped_from` the reading (%) before it. It happened after
    `not_before`; where that makes a difference (`hidden`), nobody could see the tank in between. `unseen`:
    it was the first word after the link or the channel had been away, whatever the size.
    """

    at: int
    size: float
    level: float
    jumped_from: float
    not_before: int
    hidden: bool
    unseen: bool


class _LinkGaps:
    """The stretches in which the link was not live."""

    def __init__(self, window: Window) -> None:
        self.known = window.live is not None
        self._starts: list[int] = []
        self._ends: list[int] = []
        covered = microseconds(window.start)
        for interval in window.live or ():
            self._add(covered, microseconds(interval.start))
            covered = max(covered, microseconds(interval.end))
        self._add(covered, microseconds(window.end))

    def _add(self, start: int, end: int) -> None:
        if end > start:
            self._starts.append(start)
            self._ends.append(end)

    def first_between(self, earlier: int, later: int) -> int | None:
        """Since when the link was away in (earlier, later], or None if it was not away for long enough to
        matter."""
        earlier = max(earlier, later - MEMORY)
        for gap in range(bisect_right(self._ends, earlier), len(self._starts)):
            since = max(earlier, self._starts[gap])
            if since >= later:
                return None
            if min(later, self._ends[gap]) - since > SHORTEST_HIDING:
                return since
        return None


def level_steps(window: Window, readings: ItemReadings) -> list[Step]:
    """All steps of the level in the window, in order of time.

    The backlash band does not depend on where the window starts, given 12 h of telemetry before the first
    step that counts: after 12 h without a change of the value the band is forgotten on purpose and opens
    afresh around it.
    """
    if readings.at.size == 0:
        return []
    gaps = _LinkGaps(window)
    times, values = readings.at.tolist(), readings.value.tolist()
    invalid_since, snapshots = readings.invalid_since.tolist(), readings.snapshot.tolist()
    band = Backlash(values[0])
    changed_at, previous_at, previous = times[0], times[0], values[0]
    steps: list[Step] = []
    for at, value, invalid, snapshot in zip(times, values, invalid_since, snapshots, strict=True):
        if value != previous:
            if at - changed_at > MEMORY:
                band = Backlash(previous)
            changed_at = at
            size = band.move(value)
            if size:
                not_before, hidden, unseen = _hiding(gaps, previous_at, at, invalid, snapshot)
                hidden = hidden and abs(size) >= HIDDEN_STEP_PERCENT
                steps.append(Step(at, size, value, previous, not_before, hidden, unseen))
        previous_at, previous = at, value
    return steps


def _hiding(
    gaps: _LinkGaps, previous_at: int, at: int, invalid_since: int, snapshot: bool
) -> tuple[int, bool, bool]:
    """The earliest time of a change that was read at `at`, whether the tank may have been out of sight since
    then, and whether `at` is the first word after that."""
    if invalid_since >= 0 and at - invalid_since > SHORTEST_HIDING:
        return invalid_since, True, True
    away_since = gaps.first_between(previous_at, at) if gaps.known else None
    if away_since is not None:
        # A level that moved while the link was away is told within seconds of its return.
        is_first_word = gaps.first_between(max(previous_at, at - FIRST_WORD), at) is not None
        return away_since, True, is_first_word
    if snapshot:
        # The first state after a reconnection that was too short to show, or that nobody knows of.
        return max(previous_at, at - MEMORY), True, True
    if not gaps.known:
        return previous_at, at - previous_at > LONG_SILENCE, False
    # Only changes travel: a level that was silent on a live link has not moved.
    return at, False, False
