"""Changes of a state, each one as an instant: repeats are none, and a flicker is one change or none."""

from __future__ import annotations

from dataclasses import dataclass

from peebot_dagster.detectors.held_values import MINUTE, SECOND, HeldValues
from peebot_dagster.detectors.link_gaps import Hiding, LinkGaps, Sight, trusted_before

# A state that does not stay for this long is on its way to another one.
QUIET = 10 * SECOND
# What flickers for longer is told by where it stands then, and begins anew.
LONGEST_FLICKER = 10 * MINUTE


@dataclass(frozen=True)
class StateChange:
    """A state went from `before` to `after`, beginning at `at` (microseconds since 1970 UTC).

    `through` are the states on the way. `hiding`: it happened out of sight, some time before `at`. `settled`:
    no flicker can add to it any more.
    """

    at: int
    before: float
    after: float
    through: tuple[float, ...]
    hiding: Hiding | None
    settled: bool


@dataclass(frozen=True)
class _Step:
    at: int
    position: int
    before: float
    after: float


def state_changes(held: HeldValues, gaps: LinkGaps, quiet: int = QUIET, hidden: int = 0) -> list[StateChange]:
    """All changes of the state, in order of time; changes with pauses of up to `quiet` microseconds are one.

    The first reading of a window is no change. Each change is known from the 10 min after it and the two
    hours before it. Of pauses and minutes only what could be seen counts, where up to `hidden` microseconds
    could not: so much longer it takes until the change is known.
    """
    sight = Sight(held, gaps)
    flickers: list[list[_Step]] = []
    seen_last = 0
    for step in _steps(held):
        seen = sight.seen(flickers[-1][0].at, step.at, hidden) if flickers else 0
        if flickers and seen - seen_last <= quiet and seen <= LONGEST_FLICKER:
            flickers[-1].append(step)
            seen_last = seen
        else:
            flickers.append([step])
            seen_last = 0
    changes: list[StateChange] = []
    for flicker in flickers:
        first, last = flicker[0], flicker[-1]
        if last.after == first.before:
            continue
        known = sight.seen(first.at, held.end, hidden)
        changes.append(
            StateChange(
                at=first.at,
                before=first.before,
                after=last.after,
                through=tuple(step.after for step in flicker[:-1]),
                hiding=gaps.hiding(held, first.position),
                settled=known > min(sight.seen(first.at, last.at, hidden) + quiet, LONGEST_FLICKER),
            )
        )
    return changes


def _steps(held: HeldValues) -> list[_Step]:
    steps: list[_Step] = []
    values = held.value.tolist()
    for position, value in enumerate(values):
        if value != value or (position and value == values[position - 1]):
            continue
        before = trusted_before(held, position)
        if before is not None and values[before] != value:
            steps.append(_Step(int(held.at[position]), position, values[before], value))
    return steps
