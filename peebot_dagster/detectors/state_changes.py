"""Changes of a state, each one as an instant: repeats are none, and a flicker is one change or none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from peebot_dagster.detectors.held_values import MINUTE, SECOND, HeldValues
from peebot_dagster.detectors.link_gaps import Hiding, LinkGaps, trusted_before

# A state that does not stay for this long is on its way to another one.
QUIET = 10 * SECOND
# A flicker is looked at for this long; what it does later is not told.
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


def state_changes(held: HeldValues, gaps: LinkGaps, quiet: int = QUIET) -> list[StateChange]:
    """All changes of the state, in order of time; changes with pauses of up to `quiet` microseconds are one.

    The first reading of a window is no change. Each change is known from the 10 min after it and the two
    hours before it.
    """
    flickers: list[list[_Step]] = []
    for step in _steps(held):
        if flickers and step.at - flickers[-1][-1].at <= quiet:
            flickers[-1].append(step)
        else:
            flickers.append([step])
    changes = (_change(held, gaps, flicker, quiet) for flicker in flickers)
    return [change for change in changes if change is not None]


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


def _change(held: HeldValues, gaps: LinkGaps, flicker: Sequence[_Step], quiet: int) -> StateChange | None:
    first = flicker[0]
    seen = [step for step in flicker if step.at - first.at <= LONGEST_FLICKER]
    if seen[-1].after == first.before:
        return None
    return StateChange(
        at=first.at,
        before=first.before,
        after=seen[-1].after,
        through=tuple(step.after for step in seen[:-1]),
        hiding=gaps.hiding(held, first.position),
        settled=held.end > min(seen[-1].at + quiet, first.at + LONGEST_FLICKER),
    )
