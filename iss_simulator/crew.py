"""When things happen on board: the crew's day, and chance."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from random import Random

AWAKE_RHYTHM = (0.12, 0.12, 0.12, 0.12, 0.35, 0.6, 2.0, 1.6) + (1.0,) * 12 + (0.9, 0.7, 0.15, 0.12)
"""Relative rate by UTC hour: few from 22 to 04, a jump at 06."""

ANY_TIME = (1.0,) * 24


def arrivals(
    random: Random, epoch: datetime, per_day: float, rhythm: Sequence[float] = ANY_TIME
) -> Iterator[float]:
    """Seconds since `epoch` of random arrivals, `per_day` on average, more often where the rhythm is high."""
    mean = sum(rhythm) / len(rhythm)
    peak = max(rhythm)
    rate_per_s = per_day * peak / mean / 86_400
    now = 0.0
    while True:
        now += random.expovariate(rate_per_s)
        hour = (epoch + timedelta(seconds=now)).hour
        if random.random() < rhythm[hour] / peak:
            yield now


_VISIT_SIZES = {2: 469, 3: 401, 4: 227, 5: 122, 6: 87, 7: 32, 8: 18, 9: 3, 10: 7}


def draw_visit_size(random: Random) -> int:
    """How many % a visit adds: the frequencies measured over 72 days."""
    return random.choices(tuple(_VISIT_SIZES), tuple(_VISIT_SIZES.values()))[0]
