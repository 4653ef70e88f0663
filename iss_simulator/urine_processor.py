"""The Urine Processor (UPA): when it runs, and the states that it reports on NODE3000004."""

from __future__ import annotations

import math
from datetime import datetime
from enum import IntEnum
from random import Random

PROCESSING_PERCENT_PER_S = 10.8 / 3600
_EVENING_S = 20 * 3600
"""It is started before the crew's night, when little flows in, unless the tank gets full."""
_URGENT_LEVEL = 70.0


class UpaState(IntEnum):
    """Values of NODE3000004."""

    STOP = 2
    SHUTDOWN = 4
    MAINTENANCE = 8
    NORMAL = 16
    STANDBY = 32
    IDLE = 64
    SYSTEM_INITIALIZED = 128


class UrineProcessor:
    """Runs when the tank is well filled, until it is nearly empty; times in seconds, levels in %."""

    def __init__(self, random: Random, since: datetime) -> None:
        self.samples: list[tuple[float, UpaState]] = []
        self.state = UpaState.STANDBY
        self._random = random
        self._second_of_day = (since - since.replace(hour=0, minute=0, second=0)).total_seconds()
        self._next_state_at = math.inf
        self._upcoming: list[tuple[UpaState, float]] = []
        self._stop_level = 5.0
        self._start_level = random.uniform(58, 70)
        self._enter(UpaState.STANDBY, 0.0)

    @property
    def is_processing(self) -> bool:
        """Whether the tank is being emptied."""
        return self.state is UpaState.NORMAL

    @property
    def percent_per_s(self) -> float:
        """What it does to the level now."""
        return -PROCESSING_PERCENT_PER_S if self.is_processing else 0.0

    def next_change(self, now: float, level: float) -> float:
        """When it will change its state if the level goes on as now."""
        if self.is_processing:
            return now + max(0.0, (level - self._stop_level) / PROCESSING_PERCENT_PER_S)
        return max(now, self._next_state_at)

    def observe(self, now: float, level: float) -> None:
        """Take the level into account and enter the next state if it is time."""
        if self.is_processing:
            if level <= self._stop_level + 1e-6:
                self._plan_rest(now)
        elif self._next_state_at <= now:
            state, duration = self._upcoming.pop(0)
            self._enter(state, now)
            self._next_state_at = now + duration
        elif self._next_state_at == math.inf and level >= self._start_level:
            self._plan_start(now)
        elif self.state is UpaState.STANDBY and level >= _URGENT_LEVEL:
            self._next_state_at = min(self._next_state_at, now + 60)

    def _plan_start(self, now: float) -> None:
        evening = _EVENING_S + self._random.uniform(-5400, 5400)
        self._next_state_at = now + (evening - self._second_of_day - now) % 86_400
        self._stop_level = self._random.uniform(4.6, 5.8)
        self._upcoming = [(UpaState.SYSTEM_INITIALIZED, 90.0), (UpaState.NORMAL, math.inf)]

    def _plan_rest(self, now: float) -> None:
        self._start_level = self._random.uniform(58, 70)
        self._enter(UpaState.SHUTDOWN, now)
        self._next_state_at = now + self._random.uniform(900, 2400)
        self._upcoming = [(UpaState.STOP, self._random.uniform(120, 900)), (UpaState.STANDBY, math.inf)]
        if self._random.random() < 0.1:
            self._upcoming.insert(1, (UpaState.MAINTENANCE, self._random.uniform(3600, 10_800)))

    def _enter(self, state: UpaState, now: float) -> None:
        self.state = state
        self.samples.append((now, state))
