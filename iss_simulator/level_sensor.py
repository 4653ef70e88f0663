"""The tank's level as the station reports it: integers, one sample a second, with dither at the borders."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from random import Random

DITHER_HALF_WIDTH = 0.06
"""Within this distance (%) of a truncation border the reported integer toggles."""

_TOGGLE_MEAN_S = 2.0
_TOGGLE_MAX_S = 20.0
_SLOW_PERCENT_PER_S = 0.02


@dataclass(slots=True)
class Steps:
    """The up-steps of a rise that a backlash of width 1 lets through (seconds on the sensor's clock)."""

    count: int = 0
    first_at: float | None = None
    last_at: float | None = None


@dataclass
class LevelSensor:
    """Follows a level that moves along straight lines; collects (second, reported %) samples.

    `high` is the upper edge of the backlash: the next reported value above it is
    a rise and never dither.
    """

    random: Random
    level: float
    now: float = 0.0
    samples: list[tuple[float, int]] = field(default_factory=list)
    steps: Steps = field(default_factory=Steps)
    high: int = 0
    dither_half_width: float = DITHER_HALF_WIDTH
    _reported: int = -1
    _last_sample: float = -1.0

    def __post_init__(self) -> None:
        self._report(math.floor(self.level), self.now)
        self.high = self._reported + 1
        self.steps = Steps()

    def move(self, seconds: float, percent_per_s: float) -> None:
        """Let the level move on a straight line."""
        if abs(percent_per_s) > _SLOW_PERCENT_PER_S:
            self._move_fast(seconds, percent_per_s)
        else:
            self._move_slowly(seconds, percent_per_s)

    def jump(self, level: float) -> None:
        """The sensor is reset: another level, at once."""
        self.level = level
        self._report(math.floor(level), self.now)

    def _move_fast(self, seconds: float, slope: float) -> None:
        start, began = self.level, self.now
        end = start + slope * seconds
        if slope > 0:
            borders = range(math.floor(start) + 1, math.floor(end) + 1)
        else:
            borders = range(math.ceil(start) - 1, math.ceil(end) - 1, -1)
        for border in borders:
            value = border if slope > 0 else border - 1
            self._report(value, began + (border - start) / slope)
        self.level, self.now = end, began + seconds

    def _move_slowly(self, seconds: float, slope: float) -> None:
        end = self.now + seconds
        while self.now < end:
            border = round(self.level)
            distance = self.level - border
            if abs(distance) < self.dither_half_width:
                is_above = self.random.random() < 0.5 + distance / (2 * self.dither_half_width)
                self._report(border if is_above else border - 1, self.now)
                pause = 1.0 + min(self.random.expovariate(1 / _TOGGLE_MEAN_S), _TOGGLE_MAX_S)
            else:
                self._report(math.floor(self.level), self.now)
                pause = self._seconds_to_dither(slope)
            pause = min(pause, end - self.now)
            self.now += pause
            self.level += slope * pause

    def _seconds_to_dither(self, slope: float) -> float:
        if slope == 0:
            return math.inf
        below = math.floor(self.level)
        width = self.dither_half_width
        target = below + 1 - width if slope > 0 else below + width
        return abs(target - self.level) / abs(slope) + 0.01

    def _report(self, value: int, at: float) -> None:
        if value == self._reported:
            return
        sample = max(math.ceil(at), self._last_sample + 1)
        if value > self.high:
            self.steps.count += value - self.high
            self.steps.first_at = sample if self.steps.first_at is None else self.steps.first_at
            self.steps.last_at = sample
            self.high = value
        elif value < self.high - 1:
            self.high = value + 1
        self._reported, self._last_sample = value, sample
        self.samples.append((sample, value))
