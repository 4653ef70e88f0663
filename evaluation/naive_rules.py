"""Four rules for a visit that come to mind first, to see what a detector is worth."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from peebot_dagster.detectors.detector import DetectedEvent, Window, event_id
from peebot_dagster.detectors.level_readings import ItemReadings, item_readings, microseconds, moment_of

_SECOND = 1_000_000
_MINUTE = 60 * _SECOND
_ONE_VISIT = 120 * _SECOND
Onsets = list[int]


def any_rise(window: Window, readings: ItemReadings) -> Onsets:
    """Every reading above the one before it."""
    del window
    return [int(at) for at in readings.at[1:][np.diff(readings.value) > 0]]


def monotone_rise(window: Window, readings: ItemReadings) -> Onsets:
    """Rises without a fall between them that go on for 30 to 120 s."""
    del window
    onsets: Onsets = []
    first = last = None
    changes = zip(readings.at[1:].tolist(), np.diff(readings.value).tolist(), strict=True)
    for at, change in [*changes, (None, -1.0)]:
        if change > 0:
            first, last = (at, at) if first is None else (first, at)
        elif change < 0:
            if first is not None and last is not None and 30 * _SECOND <= last - first <= 120 * _SECOND:
                onsets.append(first)
            first = last = None
    return onsets


def net_rise(window: Window, readings: ItemReadings) -> Onsets:
    """2 % or more within 30 s, and then 30 s within 1 %."""
    at, value = readings.at, readings.value
    if not at.size:
        return []
    before = np.searchsorted(at, at - 30 * _SECOND, side="right") - 1
    rose = value - value[np.maximum(before, 0)] >= 2
    until = np.searchsorted(at, at + 30 * _SECOND, side="right")
    onsets: Onsets = []
    for place in np.flatnonzero(
        rose & (before >= 0) & (at + 30 * _SECOND < microseconds(window.end))
    ).tolist():
        rest = value[place : until[place]]
        is_stable = rest.max() - rest.min() <= 1
        if is_stable and (not onsets or at[place] - onsets[-1] > _ONE_VISIT):
            onsets.append(int(at[place]))
    return onsets


def minute_means(window: Window, readings: ItemReadings) -> Onsets:
    """The time-weighted mean of a minute, carried forward while live, 1.5 % above that of two minutes
    before."""
    first = microseconds(window.start) // _MINUTE + 1
    last = microseconds(window.end) // _MINUTE
    means = _minute_means(window, readings, np.arange(first, last + 1) * _MINUTE)
    with np.errstate(invalid="ignore"):
        rose = means[2:] - means[:-2] >= 1.5
    onsets: Onsets = []
    told = -10
    for minute in np.flatnonzero(rose).tolist():
        if minute - told > 2:
            onsets.append(int((first + minute + 1) * _MINUTE))
        told = minute
    return onsets


RULES: Mapping[str, Callable[[Window, ItemReadings], Onsets]] = MappingProxyType(
    {
        "any rise": any_rise,
        "monotone rise over 30-120 s": monotone_rise,
        "net 2 % in 30 s, then stable": net_rise,
        "minute means, 1.5 % in 2 min": minute_means,
    }
)


def visits_by_rule(rule: str, window: Window, level_item: str) -> list[DetectedEvent]:
    """What the rule takes for visits, as events."""
    readings = item_readings(window, level_item, least=0.0, greatest=100.0)
    return [
        DetectedEvent(
            event_id=event_id(rule, level_item, moment_of(at)),
            detector=rule,
            detector_version="1",
            event_type="toilet_visit",
            item=level_item,
            started_at=moment_of(at),
            ended_at=moment_of(at) + timedelta(minutes=1),
            state="closed",
            confidence=1.0,
        )
        for at in RULES[rule](window, readings)
    ]


def _minute_means(
    window: Window, readings: ItemReadings, edges: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """The mean between each edge (microseconds) and the next, over the live time; NaN where there is none."""
    if not readings.at.size:
        return np.full(max(0, edges.size - 1), np.nan)
    if window.live is None:
        starts, ends = edges[:1], edges[-1:]
    else:
        starts = np.array([microseconds(interval.start) for interval in window.live], dtype=np.int64)
        ends = np.array([microseconds(interval.end) for interval in window.live], dtype=np.int64)
    at = np.unique(np.concatenate((readings.at, starts, ends, edges)))
    place = np.searchsorted(readings.at, at[:-1], side="right") - 1
    is_live = np.searchsorted(starts, at[:-1], side="right") > np.searchsorted(ends, at[:-1], side="right")
    counts = is_live & (place >= 0)
    seconds = np.where(counts, np.diff(at), 0)
    value = readings.value[np.maximum(place, 0)]
    weight = np.concatenate(([0.0], np.cumsum(seconds)))
    total = np.concatenate(([0.0], np.cumsum(seconds * value)))
    here = np.searchsorted(at, edges)
    span, amount = np.diff(weight[here]), np.diff(total[here])
    means: npt.NDArray[np.float64] = np.full(span.shape, np.nan)
    np.divide(amount, span, out=means, where=span > 0)
    return means
