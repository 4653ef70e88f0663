"""When the ground hears the station: LOS gaps and outages, and what they do to a stream of updates."""

# ruff: noqa: S311 - seeded chance, nothing secret

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import count
from random import Random

from iss_simulator.feed import CLOCK_ITEM, Update, clock_update

LOST = "1"
"""Status.Class of TIME_000001 when a gap is announced."""

_SHORT_GAPS_A_DAY = 35.0
_LONG_GAPS_A_DAY = 3.0
_OUTAGES_A_DAY = 0.2
_DAY_S = 86_400.0
_LEAST_LIVE_S = 90.0


@dataclass(frozen=True, slots=True)
class Gap:
    """A time without signal (UTC, `ended_at` exclusive); an unannounced one shows as silence only."""

    started_at: datetime
    ended_at: datetime
    is_outage: bool
    is_announced: bool


class SignalLoss:
    """All gaps since `since`, in order, made as far as somebody asks; none begins in the given quiet time.

    `losses` (above 0): how many times as often as measured the signal is lost.
    """

    def __init__(
        self,
        seed: int,
        since: datetime,
        quiet: tuple[datetime, datetime] | None = None,
        losses: float = 1.0,
    ) -> None:
        self._losses = losses
        self._random = Random(f"{seed} signal")
        self._quiet = quiet
        self._gaps: list[Gap] = []
        self._starts: list[datetime] = []
        self._now = since

    def between(self, start: datetime, end: datetime) -> list[Gap]:
        """Gaps that overlap the time from `start` to `end`."""
        while self._now <= end:
            self._extend()
        first = max(0, bisect_right(self._starts, start) - 1)
        last = bisect_right(self._starts, end)
        return [gap for gap in self._gaps[first:last] if gap.ended_at > start and gap.started_at < end]

    def after(self, start: datetime) -> Iterator[Gap]:
        """Gaps that end after `start`, without end."""
        self.between(start, start)
        for index in count(max(0, bisect_right(self._starts, start) - 1)):
            while index >= len(self._gaps):
                self._extend()
            if self._gaps[index].ended_at > start:
                yield self._gaps[index]

    def at(self, moment: datetime) -> Gap | None:
        """The gap at a moment, if there is one."""
        for gap in self.between(moment, moment + timedelta(microseconds=1)):
            return gap
        return None

    def _extend(self) -> None:
        random = self._random
        rates = (_SHORT_GAPS_A_DAY, _LONG_GAPS_A_DAY, _OUTAGES_A_DAY)
        pause = _LEAST_LIVE_S + random.expovariate(self._losses * sum(rates) / _DAY_S)
        kind = random.choices(("short", "long", "outage"), rates)[0]
        bounds = {"short": (12.0, 60.0), "long": (120.0, 660.0), "outage": (1200.0, 5400.0)}[kind]
        started_at = self._now + timedelta(seconds=round(pause))
        ended_at = started_at + timedelta(seconds=round(random.uniform(*bounds)))
        gap = Gap(started_at, ended_at, kind == "outage", kind != "outage" and random.random() < 2 / 3)
        self._now = ended_at
        if self._quiet is not None:
            quiet_from, quiet_until = self._quiet
            if quiet_from <= gap.started_at < quiet_until:
                return
            if gap.started_at < quiet_from < gap.ended_at:
                gap = replace(gap, ended_at=quiet_from)
        self._gaps.append(gap)
        self._starts.append(gap.started_at)


def heard(updates: Iterable[Update], gaps: Iterable[Gap], until: datetime) -> Iterator[Update]:
    """What the ground gets, until a moment, of a stream in time order.

    Nothing in a gap, save the notice on TIME_000001 if it is an announced one; after it, each item that
    changed meanwhile is sent once, with its last value.
    """
    missed: dict[str, Update] = {}
    pending = iter(gaps)
    gap = next(pending, None)
    inside = False
    for update in updates:
        while gap is not None and update.ts >= gap.started_at:
            if not inside and gap.is_announced:
                yield clock_update(gap.started_at, LOST)
            inside = True
            if update.ts < gap.ended_at:
                break
            yield from _caught_up(missed, gap.ended_at)
            missed.clear()
            gap = next(pending, None)
            inside = False
        if not inside:
            yield update
        elif update.item != CLOCK_ITEM:
            missed[update.item] = update
    if inside and gap is not None and gap.ended_at < until:
        yield from _caught_up(missed, gap.ended_at)


def _caught_up(missed: dict[str, Update], ts: datetime) -> Iterator[Update]:
    yield clock_update(ts)
    for update in missed.values():
        yield replace(update, ts=ts)
