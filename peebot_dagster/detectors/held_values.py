"""The values of one item as they hold: each reading until the next one, as far as it can be trusted."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from peebot_dagster.detectors.detector import Window
from peebot_dagster.detectors.level_readings import GOOD_STATUS_CLASS, microseconds

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE


@dataclass(frozen=True)
class HeldValues:
    """Readings of one item, sorted by event time; each holds until the next, the last one until `end`.

    `at` and `end` are in microseconds since 1970 UTC. A reading that cannot be trusted has the value NaN:
    from then on nothing is known until the next one. So what held at a moment is known from the last reading
    before it alone, wherever the window starts. `is_snapshot` tells which of them came as the first state
    after a (re)connection, so that others may have been missed before; None: none did.
    """

    at: npt.NDArray[np.int64]
    value: npt.NDArray[np.float64]
    end: int
    is_snapshot: npt.NDArray[np.bool_] | None = None

    def position(self, at: int) -> int:
        """The reading that holds at a moment, as its position; -1 before the first one."""
        return int(np.searchsorted(self.at, at, side="right")) - 1

    def holding(self, at: int) -> float | None:
        """The value at a moment; None where it is unknown."""
        position = self.position(at)
        value = float(self.value[position]) if position >= 0 else np.nan
        return None if np.isnan(value) else value

    def mean(self, start: int, end: int) -> float | None:
        """The time-weighted mean over what is known from `start` to `end`; None where that is nothing."""
        until = np.append(self.at[1:], self.end) if self.at.size else self.at
        held = np.minimum(until, end) - np.maximum(self.at, start)
        known = (held > 0) & ~np.isnan(self.value)
        return float(np.average(self.value[known], weights=held[known])) if known.any() else None

    def greatest(self, start: int, end: int) -> float | None:
        """The greatest value that held at any time from `start` to `end`; None where none is known."""
        values = self.value[max(0, self.position(start)) : self.position(end) + 1]
        known = values[~np.isnan(values)]
        return float(known.max()) if known.size else None


def held_states(window: Window, item: str, states: Collection[float]) -> HeldValues:
    """The readings of a state; a value that is none of `states` cannot be trusted."""
    held = held_values(window, item, min(states), max(states))
    return replace(held, value=np.where(np.isin(held.value, list(states)), held.value, np.nan))


def held_values(window: Window, item: str, least: float, greatest: float) -> HeldValues:
    """The readings of `item`; trusted are those with a good status class (24, or none given) and
    least <= value <= greatest.

    The order of arrival does not count, and the same reading counts once. Of several readings of one moment
    the greatest trusted one holds.
    """
    end = microseconds(window.end)
    frame = window.readings
    frame = frame[frame["item"] == item]
    if frame.empty:
        return HeldValues(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float64), end)
    utc = frame["ts"].dt.tz_convert("UTC").dt.tz_localize(None)
    at = utc.to_numpy(dtype="datetime64[us]").astype(np.int64)
    value = frame["value"].to_numpy(dtype=np.float64, na_value=np.nan)
    status = frame["status_class"].astype("Float64").to_numpy(dtype=np.float64, na_value=np.nan)
    good = (np.isnan(status) | (status == GOOD_STATUS_CLASS)) & (value >= least) & (value <= greatest)
    value = np.where(good, value, np.nan)

    snapshot = np.zeros(at.size, dtype=np.bool_)
    if "is_snapshot" in frame:
        snapshot = frame["is_snapshot"].to_numpy(dtype=np.bool_)

    order = np.lexsort((snapshot, value, good, at))
    order = order[at[order] < end]
    at, value, snapshot = at[order], value[order], snapshot[order]
    is_first = np.ones(at.size, dtype=np.bool_)
    is_first[1:] = (np.diff(at) != 0) | ~(
        (value[1:] == value[:-1]) | (np.isnan(value[1:]) & np.isnan(value[:-1]))
    )
    return HeldValues(at[is_first], value[is_first], end, snapshot[is_first])
