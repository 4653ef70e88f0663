"""From the pressure of the crew lock to its falls: when the air went, and whether it was air at all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from peebot_dagster.detectors.excursions import Level, excursions
from peebot_dagster.detectors.held_values import HOUR, MINUTE, SECOND, HeldValues
from peebot_dagster.detectors.link_gaps import Hiding, LinkGaps, trusted_before

# All pressures are in mmHg. The cabin is kept between 719 and 770 (13.9 and 14.9 psi).
CABIN = Level(enter=690.0, leave=705.0, confirm=60 * SECOND, memory=HOUR, untrusted=HOUR)
# 26 mmHg are 0.5 psi. Back is only what has passed the hold for a leak check at 259 (5 psi), down or up.
VACUUM = Level(enter=26.0, leave=400.0, confirm=60 * SECOND, memory=HOUR, untrusted=HOUR)

# No valve moves the air of the lock faster: what jumps further within sight is a sensor's fault.
GREATEST_JUMP = 60.0
FASTEST_FALL_PER_S, FASTEST_RISE_PER_S = 5.0, 20.0
# Within sight a reading may be so much older than the next one while the air moves. Only changes travel: a
# longer silence is a pressure that did not move.
LONGEST_SAMPLING = 30 * SECOND
# What jumps back sooner, and was not seen to fall as air does, was a sensor's fault.
LONGEST_FAULT = HOUR

# A fall begins with the first reading this far below rest, at most so long before it has passed the level.
ONSET_SPAN = 30 * MINUTE
BELOW_REST = 5.0


@dataclass(frozen=True)
class Fall:
    """The pressure was below a level from `passed` on, and air can have made it so.

    `position` is that of the first reading below. It was below until `last_below` at least; for good, if it
    is over. `hiding` and `end_hiding`: it passed the level out of sight. `end_is_air` is False where it came
    back faster than air does. Microseconds since 1970 UTC.
    """

    passed: int
    position: int
    last_below: int
    is_over: bool
    hiding: Hiding | None
    end_hiding: Hiding | None
    end_is_air: bool


def falls(pressure: HeldValues, level: Level, longest: int, gaps: LinkGaps) -> list[Fall]:
    """All falls of the pressure below the level that air can have made, in order of time.

    One that lasts for more than `longest` microseconds counts as not over, whatever comes later.
    """
    found: list[Fall] = []
    for excursion in excursions(pressure, level):
        is_over = excursion.end is not None and excursion.last_beyond - excursion.start <= longest
        back = pressure.position(excursion.last_beyond)
        if not _is_air(pressure, excursion.position, gaps):
            continue
        # A begin that was seen proves the air: how the end was sampled does not count against it.
        end_is_air = not is_over or _is_air(pressure, back, gaps)
        is_short = excursion.last_beyond - excursion.start <= LONGEST_FAULT
        if not end_is_air and is_short and not _is_air(pressure, excursion.position):
            continue
        found.append(
            Fall(
                passed=excursion.start,
                position=excursion.position,
                last_below=excursion.last_beyond,
                is_over=is_over,
                hiding=gaps.hiding(pressure, excursion.position),
                end_hiding=gaps.hiding(pressure, back) if is_over else None,
                end_is_air=end_is_air,
            )
        )
    return found


def onset(pressure: HeldValues, fall: Fall, level: Level) -> int:
    """The position of the first reading of a fall: the pressure was below where it had rested from it on.

    It is known from the hour before the fall has passed the level, and lies in its later half.
    """
    rest = _rest(pressure, fall, level)
    position = fall.position
    while rest is not None and position > 0:
        value, before = pressure.value[position - 1], fall.passed - int(pressure.at[position - 1])
        # Noise crosses the level more than once; but what was below it for good was another fall.
        is_another = value <= level.enter and before > level.confirm
        if not value < rest - BELOW_REST or is_another or before > ONSET_SPAN:
            break
        position -= 1
    return position


def _is_air(pressure: HeldValues, position: int, gaps: LinkGaps | None = None) -> bool:
    """Whether air can have come or gone as fast as the reading at this position says.

    With `gaps` it may have done so out of sight, too.
    """
    if pressure.value[position] != pressure.value[position]:
        return True  # nothing is known
    before = trusted_before(pressure, position)
    if before is None:
        return False
    change = float(pressure.value[position] - pressure.value[before])
    at, previous_at = int(pressure.at[position]), int(pressure.at[before])
    moved_s = min(at - previous_at, LONGEST_SAMPLING) / SECOND
    if gaps is not None and not gaps.known:
        # Silence may be a gap of the recording.
        moved_s = (at - previous_at) / SECOND
    elif gaps is not None and (away := gaps.away_since(at)) is not None:
        moved_s = max(moved_s, (at - max(away, previous_at)) / SECOND)
    fastest = FASTEST_RISE_PER_S if change > 0 else FASTEST_FALL_PER_S
    return abs(change) <= GREATEST_JUMP + fastest * moved_s


def _rest(pressure: HeldValues, fall: Fall, level: Level) -> float | None:
    """Where the pressure rested in the hour before: 90 % of what was read above the level was lower."""
    values = pressure.value[max(0, pressure.position(fall.passed - HOUR)) : fall.position]
    resting = values[values >= level.leave]
    return float(np.quantile(resting, 0.9)) if resting.size else None
