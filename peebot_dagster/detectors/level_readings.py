"""From a window to the clean readings of one item: gated, in the order of event time, each one once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from peebot_dagster.detectors.detector import Window

if TYPE_CHECKING:
    import pandas as pd

GOOD_STATUS_CLASS = 24
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def microseconds(moment: datetime) -> int:
    """Microseconds since 1970 UTC."""
    return (moment - _EPOCH) // _MICROSECOND


def moment_of(at: int) -> datetime:
    """The moment (UTC) of `at` microseconds since 1970."""
    return _EPOCH + timedelta(microseconds=at)


@dataclass(frozen=True)
class ItemReadings:
    """The readings of one item that may be trusted, sorted by event time.

    `at` is in microseconds since 1970 UTC. `invalid_since` is, per reading, the time of the first untrusted
    reading since the trusted one before it, or -1 where there was none. `snapshot` tells which came as the
    first state after a (re)connection: what happened just before them went unheard.
    """

    at: npt.NDArray[np.int64]
    value: npt.NDArray[np.float64]
    invalid_since: npt.NDArray[np.int64]
    snapshot: npt.NDArray[np.bool_]


def item_readings(window: Window, item: str, least: float, greatest: float) -> ItemReadings:
    """The readings of `item` in the window with a good status class (24, or none given) and least <= value <=
    greatest.

    The order of arrival does not count: readings are sorted by event time, two values of one moment by value,
    and the same value of the same moment is one reading, which is no snapshot if it was heard live as well.
    """
    frame = window.readings
    own = np.flatnonzero(frame["item"].to_numpy() == item)
    if not own.size:
        nothing = np.empty(0, dtype=np.int64)
        return ItemReadings(nothing, np.empty(0), nothing, np.empty(0, dtype=np.bool_))
    at = _microseconds_of(frame["ts"])[own]
    value = frame["value"].to_numpy(dtype=np.float64, na_value=np.nan)[own]
    status = frame["status_class"].to_numpy(dtype=np.float64, na_value=np.nan)[own]
    good = (np.isnan(status) | (status == GOOD_STATUS_CLASS)) & (value >= least) & (value <= greatest)

    snapshot = np.zeros(at.size, dtype=np.bool_)
    if "is_snapshot" in frame:
        snapshot = frame["is_snapshot"].to_numpy(dtype=np.bool_)[own]

    order = np.lexsort((snapshot, value, good, at))
    order = order[at[order] < microseconds(window.end)]
    at, value, good, snapshot = at[order], value[order], good[order], snapshot[order]

    trusted = np.flatnonzero(good)
    if trusted.size:
        repeated = np.zeros(trusted.size, dtype=np.bool_)
        repeated[1:] = (np.diff(at[trusted]) == 0) & (np.diff(value[trusted]) == 0)
        trusted = trusted[~repeated]
    before = np.concatenate(([-1], trusted[:-1]))
    invalid_since = np.full(trusted.size, -1, dtype=np.int64)
    for position in np.flatnonzero(trusted - before > 1):
        between = slice(before[position] + 1, trusted[position])
        untrusted = np.flatnonzero(~good[between])
        if untrusted.size:
            invalid_since[position] = at[between][untrusted[0]]
    return ItemReadings(at[trusted], value[trusted], invalid_since, snapshot[trusted])


def _microseconds_of(ts: pd.Series[pd.Timestamp]) -> npt.NDArray[np.int64]:
    """Microseconds since 1970 UTC of a column of moments that carry an offset."""
    return ts.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy(dtype="datetime64[us]").astype(np.int64)
