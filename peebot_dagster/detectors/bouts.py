"""From steps to bouts: the up-steps that belong to one rise of the level."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import median

from peebot_dagster.detectors.level_steps import SECOND, Step

LONGEST_PAUSE = 120 * SECOND
# Falls by this much (%) between two up-steps part them.
PARTING_FALL_PERCENT = 2.0
# The tank fills up in 435 s at the slowest pump; the limit bounds how much telemetry a bout depends on.
LONGEST_BOUT = 900 * SECOND
# A rise out of sight for longer than the longest pause belongs to what follows only while the cadence goes
# on.
PAUSE_AFTER_HIDDEN = 15 * SECOND
# No drain takes 2 % in this time (the fastest known: 3.6 % in a minute). What falls faster is no liquid.
JUMP_SPAN = 15 * SECOND
# The Urine Processor takes 2.7 % in this time (10.8 % an hour).
DRAIN_SPAN = 900 * SECOND
# Seconds per 1 %: a person gives one in 6 s, read at whole seconds. Longer and shorter pauses on the real
# tank are late steps, or a pump's.
PERSONS_PACE = (4.5, 7.5)


@dataclass(frozen=True)
class Bout:
    """One rise: its up-steps, and the falls (%) just before and after it. `drained_before` is what the level
    fell in the 15 min before it. `parted`: nothing can join it any more."""

    steps: tuple[Step, ...]
    drained_before: float
    fall_before: float
    fall_after: float
    fall_within_pause: float
    parted: bool

    @property
    def first(self) -> Step:
        return self.steps[0]

    @property
    def last(self) -> Step:
        return self.steps[-1]

    @property
    def level_before(self) -> float:
        """The level (%) that the first step rose from, in terms of the backlash band."""
        return self.first.level - self.first.size

    @property
    def level_after(self) -> float:
        """The level (%) after the last step."""
        return self.last.level

    @property
    def amount(self) -> float:
        """The net rise (%)."""
        return self.level_after - self.level_before

    @cached_property
    def cadence(self) -> float | None:
        """The median of seconds per 1 %, None for a single step."""
        return median(self.paces) if self.paces else None

    @cached_property
    def paces(self) -> list[float]:
        """Seconds per 1 % from each step to the next."""
        pairs = zip(self.steps, self.steps[1:], strict=False)
        return [(later.at - earlier.at) / SECOND / later.size for earlier, later in pairs]

    @cached_property
    def share_at_a_persons_pace(self) -> float:
        """The share of the pauses between its steps that are as long as a person's; 1 for a single step."""
        least, greatest = PERSONS_PACE
        return sum(least <= pace <= greatest for pace in self.paces) / len(self.paces) if self.paces else 1.0

    @cached_property
    def greatest_jump(self) -> float:
        """The most (%) that the level surely rose within 15 s."""
        if self.last.at - self.first.not_before <= JUMP_SPAN:
            return sum(step.size for step in self.steps)
        return max(
            sum(step.size for step in self.steps[begin:] if step.at - start.not_before <= JUMP_SPAN)
            for begin, start in enumerate(self.steps)
        )


def join(steps: Sequence[Step]) -> list[Bout]:
    """Join up-steps with pauses of at most 120 s and no net fall of 2 % or more between them."""
    groups: list[tuple[int, int]] = []
    fallen = 0.0
    for index, step in enumerate(steps):
        if step.size < 0:
            fallen -= step.size
            continue
        if groups and fallen < PARTING_FALL_PERCENT and _joins(steps, groups[-1], step):
            groups[-1] = (groups[-1][0], index)
        else:
            groups.append((index, index))
        fallen = 0.0
    return [_bout(steps, begin, end) for begin, end in groups]


def _joins(steps: Sequence[Step], group: tuple[int, int], step: Step) -> bool:
    first, last = steps[group[0]], steps[group[1]]
    if step.at - first.at > LONGEST_BOUT:
        return False
    long_out_of_sight = last.hidden and last.at - last.not_before > LONGEST_PAUSE
    # A single percent that nobody saw rise may be of any time: alone it begins nothing.
    lone_and_unseen = group[0] == group[1] and last.unseen and not last.hidden
    limit = PAUSE_AFTER_HIDDEN if long_out_of_sight or lone_and_unseen else LONGEST_PAUSE
    return step.at - last.at <= limit


def _bout(steps: Sequence[Step], begin: int, end: int) -> Bout:
    first, last = steps[begin], steps[end]
    before, after = range(begin - 1, -1, -1), range(end + 1, len(steps))
    fall_after = _fall(steps, after, last.at, LONGEST_PAUSE)
    return Bout(
        steps=tuple(step for step in steps[begin : end + 1] if step.size > 0),
        drained_before=_drained(steps, before, first.at),
        fall_before=_fall(steps, before, first.at, JUMP_SPAN),
        fall_after=_fall(steps, after, last.at, JUMP_SPAN),
        fall_within_pause=fall_after,
        parted=fall_after >= PARTING_FALL_PERCENT or any(steps[index].size > 0 for index in after),
    )


def _fall(steps: Sequence[Step], indices: Iterable[int], at: int, span: int) -> float:
    """What the level surely fell in the steps next to `at` until it rises again, within `span`."""
    fall = 0.0
    for index in indices:
        step = steps[index]
        if step.size > 0 or max(step.at - at, at - step.not_before) > span:
            break
        fall -= step.size
    return fall


def _drained(steps: Sequence[Step], before: Iterable[int], at: int) -> float:
    """What the level fell in sight in the 15 min before `at`, whatever rose in between."""
    drained = 0.0
    for index in before:
        step = steps[index]
        if at - step.at > DRAIN_SPAN:
            break
        if step.size < 0 and not step.hidden:
            drained -= step.size
    return drained
