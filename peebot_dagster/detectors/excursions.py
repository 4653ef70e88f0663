"""Stretches in which a quantity is beyond a level: with hysteresis, and blind to spikes and to noise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from peebot_dagster.detectors.held_values import HeldValues

_BEYOND, _NEITHER, _BACK, _UNTRUSTED = 1, 0, -1, 2


@dataclass(frozen=True)
class Level:
    """When a quantity counts as beyond and as back (inclusive), and for how long it must (microseconds).

    With `enter` below `leave` it is beyond when it has fallen, else when it has risen. It counts as either
    only where it stays for `confirm`. In between nothing changes, but not for longer than `memory`: then it
    counts as back, so that the past beyond that decides nothing. Time in which no reading can be trusted
    adds up to `untrusted` to the memory.
    """

    enter: float
    leave: float
    confirm: int
    memory: int
    untrusted: int = 0

    @property
    def known_after(self) -> int:
        """How long after the end of an excursion it is known for sure."""
        return self.memory + self.untrusted + self.confirm


@dataclass(frozen=True)
class Excursion:
    """Beyond the level from `start` until it was back at `end` (None: not yet); microseconds since 1970 UTC.

    `position` is that of the first reading beyond, `last_beyond` the end of the last confirmed stretch.
    """

    start: int
    position: int
    last_beyond: int
    end: int | None


@dataclass(frozen=True)
class _Stretch:
    zone: int
    position: int
    start: int
    end: int


def excursions(held: HeldValues, level: Level) -> list[Excursion]:
    """All excursions that begin in sight, in order of time; the last one may have no end.

    What begins later than `known_after` after the window's start does not depend on where that is; an end is
    known for sure so long after it.
    """
    found: list[Excursion] = []
    is_open = False
    beyond_until: int | None = None
    memory = level.memory
    for stretch in _stretches(held, level):
        if stretch.zone == _UNTRUSTED:
            memory = min(memory + stretch.end - stretch.start, level.memory + level.untrusted)
        if stretch.zone == _BEYOND:
            is_forgotten = beyond_until is None or stretch.start - beyond_until >= memory
            if is_forgotten and stretch.position > 0:
                found.append(Excursion(stretch.start, stretch.position, stretch.end, None))
                is_open = True
            elif is_open:
                found[-1] = Excursion(found[-1].start, found[-1].position, stretch.end, None)
            beyond_until, memory = stretch.end, level.memory
        elif stretch.zone == _BACK:
            if is_open:
                found[-1] = Excursion(
                    found[-1].start, found[-1].position, found[-1].last_beyond, stretch.start
                )
            is_open, beyond_until = False, None
        elif is_open and stretch.end - found[-1].last_beyond >= memory:
            found[-1] = Excursion(
                found[-1].start, found[-1].position, found[-1].last_beyond, found[-1].last_beyond
            )
            is_open = False
    return found


def _stretches(held: HeldValues, level: Level) -> Iterator[_Stretch]:
    """The time in stretches of one zone each; what is not confirmed is neither beyond nor back."""
    if held.at.size == 0:
        return
    if level.enter < level.leave:
        zones = np.where(held.value <= level.enter, _BEYOND, np.where(held.value >= level.leave, _BACK, 0))
    else:
        zones = np.where(held.value >= level.enter, _BEYOND, np.where(held.value <= level.leave, _BACK, 0))
    zones = np.where(np.isnan(held.value), _UNTRUSTED, zones)
    positions = np.concatenate(([0], np.flatnonzero(np.diff(zones)) + 1))
    starts = held.at[positions].tolist()
    ends = [*starts[1:], held.end]
    for zone, position, start, end in zip(
        zones[positions].tolist(), positions.tolist(), starts, ends, strict=True
    ):
        is_told = zone == _UNTRUSTED or end - start >= level.confirm
        yield _Stretch(zone if is_told else _NEITHER, position, start, end)
