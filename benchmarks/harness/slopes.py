"""How fast something grows that is looked at now and then, and begins anew now and then."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

_LEAST_SAMPLES = 4


@dataclass(frozen=True)
class Sample:
    """A figure at a moment (seconds); `life` is another one after each restart of what is looked at."""

    at: float
    life: int
    figure: float


@dataclass(frozen=True)
class Trend:
    """The growth an hour, the hours that were looked at, and the mean there."""

    per_hour: float
    hours: float
    mean: float
    most: float

    @property
    def growth(self) -> float:
        """How much it has grown in the time that was looked at."""
        return self.per_hour * self.hours


def trend(samples: Iterable[Sample], warm_up_s: float) -> Trend | None:
    """By least squares: one slope for all lives, each with its own level, without the first seconds of each.

    None where too little is left.
    """
    lives: dict[int, list[Sample]] = defaultdict(list)
    for sample in samples:
        lives[sample.life].append(sample)
    across = along = seconds = 0.0
    figures: list[float] = []
    for life in lives.values():
        begin = min(sample.at for sample in life) + warm_up_s
        warm = [sample for sample in life if sample.at >= begin]
        if len(warm) < _LEAST_SAMPLES:
            continue
        mean_at = sum(sample.at for sample in warm) / len(warm)
        mean = sum(sample.figure for sample in warm) / len(warm)
        across += sum((sample.at - mean_at) * (sample.figure - mean) for sample in warm)
        along += sum((sample.at - mean_at) ** 2 for sample in warm)
        seconds += warm[-1].at - warm[0].at
        figures += [sample.figure for sample in warm]
    if along == 0:
        return None
    return Trend(3600 * across / along, seconds / 3600, sum(figures) / len(figures), max(figures))
