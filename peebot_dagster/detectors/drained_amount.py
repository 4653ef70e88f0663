"""How much a processor took out of a tank while people and pumps poured into it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from peebot_dagster.detectors.backlash import Backlash
from peebot_dagster.detectors.held_values import HOUR, SECOND, HeldValues

# The Urine Processor takes 1 % in about 5 min. What falls in less is a fast drain or a sensor: not its work.
FASTEST_PERCENT = 60 * SECOND
# More than this in one reading was out of sight.
SEEN_PERCENT = 2.0
# With fewer falls the rate would be a guess.
LEAST_FALLS_PERCENT = 3.0


@dataclass(frozen=True)
class Step:
    """A movement of the level by `size` (%, signed), read at `at` (microseconds since 1970 UTC)."""

    at: int
    size: float


@dataclass(frozen=True)
class DrainedAmount:
    """What was drained at a steady rate, and what rose (`rises`) and fell faster (`other_falls`) meanwhile.

    Amounts are % of the tank. `amount` and `rate` (% per hour) are None while too little has fallen to tell.
    """

    amount: float | None
    rate: float | None
    rises: float
    other_falls: float


def steps_between(levels: HeldValues, start: int, end: int) -> list[Step]:
    """The steps of a level in whole percents from `start` to `end`, without its dither.

    They depend on nothing before `start` but the level then.
    """
    first = max(0, levels.position(start))
    band: Backlash | None = None
    steps: list[Step] = []
    for at, value in zip(levels.at[first:].tolist(), levels.value[first:].tolist(), strict=True):
        if at > end:
            break
        if value != value:
            continue
        if band is None:
            band = Backlash(value)
        elif size := band.move(value):
            steps.append(Step(at, size))
    return steps


def drained_amount(steps: Sequence[Step], start: int, end: int) -> DrainedAmount:
    """What was drained from `start` to `end` (microseconds since 1970 UTC), by the level's steps in between.

    Between two falls in a row the level has really fallen by what was read, however much it dithers. Around
    a rise it has fallen unseen, up to 1 % for the whole number and 1 % for the backlash, and so it has before
    the first fall and after the last; what fell by 2 % or more at once was out of sight, and so may rises
    have been. There, the rate tells how much.
    """
    falls, seconds, rises, other = 0.0, 0, 0.0, 0.0
    run_began_at: int | None = None
    previous = earlier = Step(start, 0.0)
    for step in steps:
        if step.size > 0:
            rises += step.size
            run_began_at = None
        elif _is_too_fast(step, previous) and _is_too_fast(Step(step.at, step.size + previous.size), earlier):
            other -= step.size
            run_began_at = None
        else:
            if run_began_at is not None and step.size > -SEEN_PERCENT:
                falls -= step.size
                seconds += step.at - run_began_at
            run_began_at = step.at
        previous, earlier = step, previous
    if falls < LEAST_FALLS_PERCENT:
        return DrainedAmount(None, None, rises, other)
    rate = falls / seconds
    amount = falls + rate * (end - start - seconds)
    return DrainedAmount(amount, rate * HOUR, rises, other)


def _is_too_fast(fall: Step, before: Step) -> bool:
    """Whether the level fell faster since the step before than a processor drains.

    A single one may be late news after a loss of signal: that is why two are looked at.
    """
    return fall.size < 0 and (fall.at - before.at) / -fall.size < FASTEST_PERCENT
