"""The times in which a pump fills or drains a tank: faster than people and air do, for a while."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from peebot_dagster.detectors.binned_level import BIN, LONGEST_BRIDGE, REACH, BinnedLevel
from peebot_dagster.detectors.held_values import HOUR, MINUTE, SECOND, HeldValues

# The water processor moves 6 to 13 % an hour; condensate, distillate and the crew less than 2 % an hour.
FAST_PERCENT_PER_HOUR = 3.0
LEAST_PERCENT = 2.0
# So many bins that are not fast part no phase: slopes over an hour make that a pause of 50 min and more.
LONGEST_PAUSE = 3
# A whole tank takes 10 h at 9 % an hour; what takes longer is cut.
LONGEST_PHASE = 11 * HOUR // BIN
# Lines on both sides of a turn, clear of the bins that it lies in: REACH around the first or last fast one.
LINE = 3
# No pump moves more between two readings, nor faster.
JUMP_PERCENT, JUMP_PERCENT_PER_MINUTE, JUMP_SHARE = 1.5, 1.0, 0.6
# How many bins a phase depends on before its first fast bin, and after the last that may be one.
BINS_BEFORE = LONGEST_PAUSE + 1 + REACH + LONGEST_BRIDGE + LINE
BINS_AFTER = LONGEST_PAUSE + 1 + REACH + LONGEST_BRIDGE + LINE


@dataclass(frozen=True)
class Turn:
    """When a phase began or ended (microseconds since 1970 UTC) and at what level (%); `hidden_since` is set
    where that was out of sight."""

    at: int
    level: float
    hidden_since: int | None


@dataclass(frozen=True)
class Phase:
    """One fill (`sign` 1) or drain (-1) of a tank, at `rate` (%/h, signed).

    `evidence` is the middle of its first fast bin (microseconds since 1970 UTC). `end` is None while it
    lasts, and `level` is the level (%) then or at its end; `cut`: it lasted for longer than LONGEST_PHASE.
    """

    sign: int
    evidence: int
    begin: Turn
    end: Turn | None
    level: float
    rate: float
    cut: bool

    @property
    def amount(self) -> float:
        """By how much the level has moved (%, never negative)."""
        return max(0.0, self.sign * (self.level - self.begin.level))


def fast_bins(bins: BinnedLevel, sign: int) -> npt.NDArray[np.int64]:
    """The indices of the bins in which the level moves up (1) or down (-1) as fast as a pump moves it."""
    with np.errstate(invalid="ignore"):
        return np.flatnonzero(sign * bins.slope >= FAST_PERCENT_PER_HOUR)


def level_phases(bins: BinnedLevel, held: HeldValues) -> list[Phase]:
    """The fast phases of the level `held`, in order of time; a jump of the sensor is none."""
    found = [phase for sign in (-1, 1) for phase in _phases(bins, held, sign)]
    return sorted(found, key=lambda phase: phase.evidence)


def _phases(bins: BinnedLevel, held: HeldValues, sign: int) -> Iterator[Phase]:
    fast = fast_bins(bins, sign)
    starts = np.flatnonzero(np.diff(fast, prepend=-1_000_000) > LONGEST_PAUSE + 1).tolist()
    for begin, end in pairwise([*starts, fast.size]):
        first, within = int(fast[begin]), fast[begin:end]
        last = int(within[within <= first + LONGEST_PHASE][-1])
        if first + REACH + LINE >= bins.seen.size:
            continue
        moved = sign * float(bins.level[last + REACH] - bins.level[first - REACH])
        if moved < LEAST_PERCENT or _greatest_jump(bins, held, first, last) >= JUMP_SHARE * moved:
            continue
        yield _phase(bins, sign, first, last, cut=int(within[-1]) > last)


def _phase(bins: BinnedLevel, sign: int, first: int, last: int, cut: bool) -> Phase:
    begin = _begin(bins, sign, first)
    if cut:
        end: Turn | None = Turn(bins.middle(last), float(bins.level[last]), None)
    else:
        end = _end(bins, sign, last) if _is_over(bins, last) else None
    if end is not None and end.at < begin.at:
        end = replace(end, at=begin.at)
    level = float(bins.level[last + REACH]) if end is None else end.level
    return Phase(sign, bins.middle(first), begin, end, level, _rate(bins, begin, end, first, last), cut)


def _rate(bins: BinnedLevel, begin: Turn, end: Turn | None, first: int, last: int) -> float:
    """How fast the level moved in the phase, %/h: between its turns, or by what of it was in sight."""
    if end is not None and begin.hidden_since is None and end.hidden_since is None and end.at > begin.at:
        return (end.level - begin.level) / (end.at - begin.at) * HOUR
    seen_until = bins.begin(last) if end is None else end.hidden_since or end.at
    line = bins.line(bins.index_of(begin.at + BIN - 1), bins.index_of(seen_until), origin=first)
    return float(bins.slope[first : last + 1].mean()) if line is None else line[1] * HOUR / BIN


def _begin(bins: BinnedLevel, sign: int, first: int) -> Turn:
    """The turn into a phase; it depends on no more than is known once its first bin is known to be fast."""
    before = bins.line(first - REACH - LINE, first - REACH, origin=first)
    if before is None:
        # It was under way when the level came into sight.
        came_into_sight = bins.begin(first - REACH)
        return Turn(came_into_sight, float(bins.level[first - REACH]), came_into_sight)
    flow = _steepest(bins, sign, first - REACH, first + REACH + LINE, origin=first)
    return _turn(bins, before, flow, first, rests_before=True)


def _is_over(bins: BinnedLevel, last: int) -> bool:
    """Whether nothing to come can prolong the phase: what follows is known, or out of sight for too long."""
    beyond = last + LONGEST_PAUSE + 1 + REACH
    return bool(np.any(~np.isnan(bins.seen[beyond:]))) or bins.seen.size > beyond + LONGEST_BRIDGE


def _end(bins: BinnedLevel, sign: int, last: int) -> Turn:
    after = bins.line(last + REACH + 1, last + REACH + 1 + LINE, origin=last)
    if after is None:
        went_out_of_sight = bins.begin(last + REACH + 1)
        return Turn(went_out_of_sight, float(bins.level[last + REACH]), went_out_of_sight)
    flow = _steepest(bins, sign, last - REACH - LINE + 1, last + REACH + 1, origin=last)
    return _turn(bins, after, flow, last, rests_before=False)


def _steepest(bins: BinnedLevel, sign: int, start: int, end: int, origin: int) -> tuple[float, float] | None:
    """The line through the two neighbours in [start, end) between which the level moves most, as
    `BinnedLevel.line` gives it: they lie within the phase, however short it is. None if it was out of
    sight."""
    change = sign * np.diff(bins.seen[start:end])
    if np.isnan(change).all() or np.nanmax(change) < FAST_PERCENT_PER_HOUR * BIN / HOUR:
        return None
    steepest = start + int(np.nanargmax(change))
    slope = float(bins.seen[steepest + 1] - bins.seen[steepest])
    return float(bins.seen[steepest]) - slope * (steepest - origin), slope


def _turn(
    bins: BinnedLevel,
    rest: tuple[float, float],
    flow: tuple[float, float] | None,
    fast: int,
    rests_before: bool,
) -> Turn:
    """Where the line of the level at rest and that of the flow meet, near the fast bin.

    In or next to a bin that was not seen it may as well have been at any time out of sight.
    """
    if flow is None:
        at, near = 0.0, range(fast - REACH, fast + REACH + 1)
    else:
        bend = flow[1] - rest[1]
        at = min(max((rest[0] - flow[0]) / bend, -REACH), REACH) if bend else 0.0
        near = range(fast + math.floor(at), fast + math.ceil(at) + 1)
    unseen = [index for index in near if np.isnan(bins.seen[index])]
    if unseen:
        left, right = unseen[0], unseen[-1]
        while right + 1 < bins.seen.size and np.isnan(bins.seen[right + 1]):
            right += 1
        while np.isnan(bins.seen[left - 1]):
            left -= 1
        at_rest = left - 1 if rests_before else right + 1
        return Turn(bins.begin(right + 1), float(bins.level[at_rest]), bins.begin(left))
    if flow is None:
        return Turn(bins.middle(fast), float(bins.level[fast]), None)
    # Whole seconds: no more is known, and no more is shown.
    moment = bins.middle(fast) + round(at * (BIN // SECOND)) * SECOND
    return Turn(moment, rest[0] + rest[1] * at, None)


def _greatest_jump(bins: BinnedLevel, held: HeldValues, first: int, last: int) -> float:
    """The greatest change (%) between two readings that no pump can have made; 0 where there is none."""
    inside = (held.at >= bins.begin(first - REACH)) & (held.at < bins.begin(last + REACH + 1))
    inside &= ~np.isnan(held.value)
    change = np.abs(np.diff(held.value[inside]))
    minutes = np.diff(held.at[inside]) / MINUTE
    jumps = change[change > JUMP_PERCENT + JUMP_PERCENT_PER_MINUTE * minutes]
    return float(jumps.max()) if jumps.size else 0.0
