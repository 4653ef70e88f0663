"""A noisy level on a fixed grid of time: what it was in each ten minutes, and how it moved over each hour."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from peebot_dagster.detectors.detector import Window
from peebot_dagster.detectors.held_values import HOUR, SECOND, HeldValues
from peebot_dagster.detectors.level_readings import microseconds

Floats = npt.NDArray[np.float64]

BIN = 600 * SECOND
# Half a bin must be known for its level to count.
LEAST_KNOWN = BIN // 2
# A longer time out of sight is not bridged: too much may have happened in it.
LONGEST_BRIDGE = 12
# A slope spans three bins on each side: over an hour neither noise nor whole percents look like a pump.
REACH = 3
# Without knowledge of the link a channel that is silent for so long was not heard.
LONGEST_SILENCE = 2 * HOUR


@dataclass(frozen=True)
class BinnedLevel:
    """The level in bins of ten minutes that begin at whole multiples of it since 1970 UTC.

    Bin `first + i` has the time-weighted median `seen[i]` (%), NaN where too little of it was known;
    `level[i]` is the same with up to two hours out of sight bridged by a straight line. `slope[i]` is how
    the level moves around the middle of the bin, over an hour (%/h), NaN where that is unknown. Only
    bins that are over are there.
    """

    first: int
    seen: Floats
    level: Floats
    slope: Floats

    def begin(self, index: int) -> int:
        """When the bin at `index` begins (microseconds since 1970 UTC)."""
        return (self.first + index) * BIN

    def middle(self, index: int) -> int:
        """The middle of the bin at `index` (microseconds since 1970 UTC)."""
        return self.begin(index) + BIN // 2

    def index_of(self, moment: int) -> int:
        """The index of the bin that holds a moment (microseconds since 1970 UTC)."""
        return moment // BIN - self.first

    def line(self, start: int, end: int, origin: int) -> tuple[float, float] | None:
        """The straight line through the seen bins [start, end): the level (%) in the middle of the bin
        `origin`, and % per bin. None with fewer than two."""
        at = np.arange(max(0, start), min(end, self.seen.size))
        at = at[~np.isnan(self.seen[at])]
        if at.size < 2:
            return None
        # Counted from the origin, the same bins give the same line to the last bit in every window.
        slope, level = np.polyfit(at - origin, self.seen[at], 1)
        return float(level), float(slope)


def binned_level(window: Window, held: HeldValues) -> BinnedLevel:
    """The level `held` of the window in bins. What was not live is not known, whatever the value before."""
    start, end = microseconds(window.start), microseconds(window.end)
    first, count = start // BIN, max(0, end // BIN - start // BIN)
    edges = np.arange(first, first + count + 1, dtype=np.int64) * BIN
    if count == 0 or held.at.size == 0:
        nothing = np.full(count, np.nan)
        return BinnedLevel(first, nothing, nothing, nothing)
    live = np.array([(microseconds(i.start), microseconds(i.end)) for i in window.live or ()], dtype=np.int64)
    marks = live.ravel() if window.live is not None else held.at + LONGEST_SILENCE
    times = np.unique(np.concatenate((edges, held.at, marks)))
    times = times[(times >= edges[0]) & (times <= edges[-1])]
    begin, length = times[:-1], np.diff(times)
    source = np.searchsorted(held.at, begin, side="right") - 1
    known = (source >= 0) & ~np.isnan(held.value[source])
    if window.live is None:
        known &= begin < held.at[source] + LONGEST_SILENCE
    else:
        # An odd number of the intervals' edges lies before a live moment.
        known &= np.searchsorted(marks, begin, side="right") % 2 == 1
    bins = begin // BIN - first
    seen = _medians(bins[known], held.value[source[known]], length[known], count)
    level = _bridged(seen)
    slope = np.full(count, np.nan)
    if count > 2 * REACH:
        slope[REACH:-REACH] = (level[2 * REACH :] - level[: -2 * REACH]) * (HOUR / BIN / (2 * REACH))
    return BinnedLevel(first, seen, level, slope)


def _medians(bins: npt.NDArray[np.int64], value: Floats, weight: npt.NDArray[np.int64], count: int) -> Floats:
    """The weighted median of each bin, NaN where less than LEAST_KNOWN is known."""
    order = np.lexsort((value, bins))
    bins, value, weight = bins[order], value[order], weight[order]
    total = np.bincount(bins, weights=weight, minlength=count)
    before = np.cumsum(total) - total
    halfway = np.searchsorted(np.cumsum(weight), before + total / 2)
    medians = np.full(count, np.nan)
    enough = total >= LEAST_KNOWN
    medians[enough] = value[halfway[enough]]
    return medians


def _bridged(seen: Floats) -> Floats:
    """`seen` with straight lines over the stretches of up to LONGEST_BRIDGE unknown bins."""
    known = np.flatnonzero(~np.isnan(seen))
    level = seen.copy()
    for left, right in zip(known[:-1].tolist(), known[1:].tolist(), strict=True):
        if 1 < right - left <= LONGEST_BRIDGE + 1:
            between = np.arange(left + 1, right)
            level[between] = np.interp(between, [left, right], [seen[left], seen[right]])
    return level
