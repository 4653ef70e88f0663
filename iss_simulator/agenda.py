"""What happens to the urine tank and when: by chance, or as a demonstration wants it."""

# ruff: noqa: S311 - seeded chance, nothing secret

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count
from random import Random

from iss_simulator.crew import AWAKE_RHYTHM, arrivals
from iss_simulator.truth import Kind

_VISITS_A_DAY = 18.4
_DRIBBLES_A_DAY = 8.6
_TRANSFERS_A_DAY = 2.4
_FAST_DRAINS_A_DAY = 0.3
_RESETS_A_DAY = 0.08


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """Visits on demand, for demonstrations: from `begins_at` on, chance has a break.

    The first visit comes `first_visit_after_s` seconds later; then one each `visit_every_s` seconds, or
    chance again where that is None. What happened before `begins_at` is the same as without rehearsal.
    """

    begins_at: datetime
    first_visit_after_s: float
    visit_every_s: float | None = None

    @property
    def quiet_until(self) -> datetime:
        """End of the time in which nothing but the first visit happens."""
        return self.begins_at + timedelta(seconds=self.first_visit_after_s + 300)


class Agenda:
    """An endless list of (seconds since `since`, kind), in order of time."""

    def __init__(self, seed: int, since: datetime, rehearsal: Rehearsal | None) -> None:
        chance: dict[Kind, Iterator[float]] = {
            "visit": arrivals(Random(f"{seed} visits"), since, _VISITS_A_DAY, AWAKE_RHYTHM),
            "dribble": arrivals(Random(f"{seed} dribbles"), since, _DRIBBLES_A_DAY, AWAKE_RHYTHM),
            "transfer": arrivals(Random(f"{seed} transfers"), since, _TRANSFERS_A_DAY),
            "fast_drain": arrivals(Random(f"{seed} fast drains"), since, _FAST_DRAINS_A_DAY),
            "reset": arrivals(Random(f"{seed} resets"), since, _RESETS_A_DAY),
        }
        streams = [
            _rehearsed(kind, times, since, rehearsal) if rehearsal else _labelled(kind, times)
            for kind, times in chance.items()
        ]
        self._merged = heapq.merge(*streams)

    def pop(self) -> tuple[float, Kind]:
        """The next entry."""
        return next(self._merged)


def _labelled(kind: Kind, times: Iterator[float]) -> Iterator[tuple[float, Kind]]:
    return ((time, kind) for time in times)


def _rehearsed(
    kind: Kind, times: Iterator[float], since: datetime, rehearsal: Rehearsal
) -> Iterator[tuple[float, Kind]]:
    begins = (rehearsal.begins_at - since).total_seconds()
    chance_again = (rehearsal.quiet_until - since).total_seconds()
    if rehearsal.visit_every_s is not None:
        chance_again = math.inf
    later = begins
    for later in times:
        if later >= begins:
            break
        yield later, kind
    if kind == "visit":
        for number in count():
            due = begins + rehearsal.first_visit_after_s + number * (rehearsal.visit_every_s or 0)
            yield due, kind
            if rehearsal.visit_every_s is None:
                break
    if chance_again == math.inf:
        return
    while later < chance_again:
        later = next(times)
    yield later, kind
    for time in times:
        yield time, kind
