"""From the changes of a machine's state to the stretches that it spends in one of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from peebot_dagster.detectors.held_values import HOUR, MINUTE, HeldValues
from peebot_dagster.detectors.link_gaps import MEMORY, LinkGaps
from peebot_dagster.detectors.state_changes import LONGEST_FLICKER, StateChange, state_changes

# A machine that runs for hours has not done anything in less: a state that does not stay is chatter.
HOLD = MINUTE
# What goes back after so long out of sight has been two changes.
LONGEST_HIDDEN = HOUR
# What a change depends on before it, and until when it is known.
LOOK_BACK = timedelta(microseconds=HOLD + LONGEST_HIDDEN + LONGEST_FLICKER + MEMORY)
SETTLE = timedelta(microseconds=HOLD + LONGEST_HIDDEN + LONGEST_FLICKER + HOLD)


@dataclass(frozen=True)
class Spell:
    """A stretch in one state: how it began and ended. `end` is None while it lasts, and where it was `cut`:
    its end was not seen within the time that one is waited for."""

    begin: StateChange
    end: StateChange | None
    cut: bool


def lasting_changes(held: HeldValues, gaps: LinkGaps) -> list[StateChange]:
    """The changes to a state that was seen to stay for a minute, in order of time; what may be chatter is
    left out.

    While the link is away nothing is seen to stay. So what is told stands, whatever is heard later.
    """
    changes = state_changes(held, gaps, quiet=HOLD, hidden=LONGEST_HIDDEN)
    return [change for change in changes if change.settled]


def spells(changes: Sequence[StateChange], state: int, longest: int, watermark: int) -> Iterator[Spell]:
    """The stretches in `state`, each with at most `longest` microseconds from its begin to its end.

    What is told of one depends on no more than the telemetry up to `longest` and SETTLE after its begin.
    """
    waited = longest + SETTLE // timedelta(microseconds=1)
    for position, begin in enumerate(changes):
        if begin.after != state:
            continue
        end = changes[position + 1] if position + 1 < len(changes) else None
        if end is not None and end.before == state and end.at - begin.at <= longest:
            yield Spell(begin, end, cut=False)
        else:
            yield Spell(begin, None, cut=watermark >= begin.at + waited)


def hidden_since(change: StateChange, held: HeldValues) -> int | None:
    """Since when (microseconds since 1970 UTC) a change was out of sight; None for one that was seen.

    Where that is more than two hours, it happened at any time since the reading before it.
    """
    if change.hiding is None:
        return None
    if change.hiding.since is not None:
        return change.hiding.since
    return int(held.at[max(0, held.position(change.at) - 1)])
