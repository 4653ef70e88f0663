"""When a tank will be too empty or too full if things go on as they do, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from peebot_dagster.detectors.binned_level import BIN, LONGEST_BRIDGE, REACH, BinnedLevel
from peebot_dagster.detectors.held_values import HOUR
from peebot_dagster.detectors.level_phases import fast_bins

# The present rate is that of the last 6 h, without the times of pumping; less than 2 h would be a guess.
HISTORY = 6 * HOUR // BIN
LEAST_HISTORY = 2 * HOUR // BIN
HORIZON_HOURS = 12.0
# One forecast for each approach: a new one only after so long without.
QUIET_HOURS = 4
# 80 % of the outcomes shall lie within the interval: 1.28 standard deviations to each side.
INTERVAL_SHARE, DEVIATIONS = 0.8, 1.28
# The hours to come differ from the hours seen by these shares of the rate: a crew that has slept gets up and
# uses twice as much; one that is awake goes on for most of a day.
FASTER_SHARE, SLOWER_SHARE = 0.55, 0.25
LEAST_RATE_PERCENT_PER_HOUR = 0.1
# How far back a forecast depends on the telemetry.
LOOK_BACK_HOURS = QUIET_HOURS + (HISTORY + 2 * REACH + LONGEST_BRIDGE) * BIN / HOUR + 1


@dataclass(frozen=True)
class Forecast:
    """Made at `at` (microseconds since 1970 UTC): a level (%) that moves by `rate` (%/h) reaches `limit` (%).

    That is expected in `hours`, within `earliest` and `latest` hours in four of five cases; `latest` is None
    where it may well never be. The rate is that of `seen_hours`.
    """

    at: int
    level: float
    limit: float
    rate: float
    hours: float
    earliest: float
    latest: float | None
    seen_hours: float


def level_forecasts(bins: BinnedLevel, limit: float, sign: int) -> list[Forecast]:
    """The forecasts that the level rises (sign 1) or falls (-1) to `limit` (%) within 12 h.

    Made at full hours, each from what was known then: later telemetry changes none.
    """
    forecasts: list[Forecast] = []
    latest: int | None = None
    for forecast, pumped_until in _hourly(bins, limit, sign):
        quiet_since = forecast.at - QUIET_HOURS * HOUR
        if latest is None or latest < quiet_since or latest <= pumped_until:
            forecasts.append(forecast)
        latest = forecast.at
    return forecasts


def _hourly(bins: BinnedLevel, limit: float, sign: int) -> Iterator[tuple[Forecast, int]]:
    """The forecast of each full hour that has one, and until when (microseconds since 1970 UTC) it was pumped
    before."""
    fast = np.union1d(fast_bins(bins, 1), fast_bins(bins, -1))
    # A slope is known once the last bin that it spans is seen; in a gap, once the gap is bridged.
    seen_bins = np.flatnonzero(~np.isnan(bins.seen))
    known_from = seen_bins[np.searchsorted(seen_bins, fast + REACH)]
    hour_bins = HOUR // BIN
    for now in range(-bins.first % hour_bins, bins.seen.size + 1, hour_bins):
        pumped = fast[known_from < now]
        start = max(now - HISTORY, int(pumped[-1]) + REACH + 1 if pumped.size else 0, 0)
        seen = np.arange(start, now)[~np.isnan(bins.seen[start:now])]
        if seen.size < LEAST_HISTORY or seen[-1] < now - REACH:
            continue
        forecast = _forecast(bins, seen, now, limit, sign)
        if forecast is not None:
            yield forecast, bins.begin(int(pumped[-1])) if pumped.size else -1


def _forecast(
    bins: BinnedLevel, seen: np.ndarray[tuple[int], np.dtype[np.int64]], now: int, limit: float, sign: int
) -> Forecast | None:
    """The forecast from the bins `seen` before the bin `now`; None if the limit is far, or reached."""
    levels = bins.seen[seen]
    per_bin = (levels[-1] - levels[0]) / (seen[-1] - seen[0])
    rate = float(per_bin) * HOUR / BIN
    level = float(np.median(levels[-REACH:]))
    way = sign * (limit - level)
    if way <= 0 or sign * rate < LEAST_RATE_PERCENT_PER_HOUR or way > HORIZON_HOURS * sign * rate:
        return None
    history = float(seen[-1] - seen[0]) * BIN / HOUR
    hourly = levels[HOUR // BIN :] - levels[: -(HOUR // BIN)]
    deviation = float(np.std(hourly - rate))
    earliest = _reached(way, sign * rate, FASTER_SHARE, deviation, history, DEVIATIONS)
    return Forecast(
        at=bins.begin(now),
        level=level,
        limit=limit,
        rate=rate,
        hours=way / (sign * rate),
        earliest=earliest if earliest is not None else 0.0,
        latest=_reached(way, sign * rate, SLOWER_SHARE, deviation, history, -DEVIATIONS),
        seen_hours=history,
    )


def _reached(
    way: float, rate: float, share: float, deviation: float, history: float, deviations: float
) -> float | None:
    """In how many hours a level has gone `way` (%) if it is `deviations` off; None if not within four times
    the horizon.

    The hourly changes are taken as independent: in T hours they are off by sqrt(T), their mean over the
    history by T / sqrt(history), and the rate itself by `share` of it.
    """
    hours = np.arange(0.05, 4 * HORIZON_HOURS, 0.05)
    off = np.hypot(deviation * np.sqrt(hours + hours**2 / history), share * rate * hours)
    reached = np.flatnonzero(rate * hours + deviations * off >= way)
    return math.floor(float(hours[reached[0]]) * 20 + 0.5) / 20 if reached.size else None
