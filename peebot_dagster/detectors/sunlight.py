"""Does the Sun shine on the station's arrays? Dark and lit stretches, from the voltages of several arrays."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from peebot_dagster.detectors.detector import Window
from peebot_dagster.detectors.level_readings import GOOD_STATUS_CLASS, microseconds

SECOND = 1_000_000
MINUTE = 60 * SECOND

DARK_VOLTS, LIT_VOLTS = 151.4, 151.9
"""On its battery a power channel stands at 151.1 to 151.4 V; on its array at 151.6 to 152.0 V while the
battery is charged, and near 160 V after that, as in a recording of May 2022; public displays of the feed,
too, take less than 151.5 V for a battery that discharges."""

DARK_SHARE = 0.15
"""Of the way from DARK_VOLTS to LIT_VOLTS, on the average of the arrays. On the real recording it is at
most 0.05 by night, and by day at least 0.20, also with the arrays turned away for a docking (test_orbit.py
measures it, a minute from sunset and sunrise)."""

LEAST_ARRAYS = 2
STALE = 15 * MINUTE
"""A voltage flickers by its last digit (0.05 V) each 10 to 30 s; the longest pause with a signal is 320 s."""

SILENCE = 60 * SECOND
"""Where nothing is known about the link: all arrays together were never silent for longer than 50 s."""

SHORT_OUTAGE = 5 * SECOND
AFTER_SILENCE = 30 * SECOND
"""After a silence the arrays report one after the other: a change in this time may be older."""

FLICKER = MINUTE
"""A shorter light in the dark is none."""

BREAK = 50 * MINUTE
"""In a longer silence a whole day may be hidden (56 min at the least)."""

Times = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Dark:
    """A stretch without sunlight; times in microseconds since 1970 UTC.

    `begin` is the first dark reading; when a silence hides the moment, it was not before
    `begin_hidden_since`. `is_over` when it cannot go on: by `end` at the latest, the first moment known to be
    lit or, after a long silence, to belong to another night; None where there is none yet. When a silence
    hides the end, it was not before `end_hidden_since`.
    """

    begin: int
    begin_hidden_since: int | None
    end: int | None
    end_hidden_since: int | None
    is_over: bool


@dataclass(frozen=True)
class _Run:
    """Dark or lit from `begin` to `end`, the begin of the next run; None for the last one."""

    dark: bool
    begin: int
    end: int | None


def dark_stretches(window: Window, arrays: Sequence[str], longest: int) -> list[Dark]:
    """The dark stretches that begin within the window, in order.

    `longest`, in microseconds, is how long it can be dark at a time: what a silence hides is bounded by it.
    """
    at, share = _light(window, arrays)
    known = ~np.isnan(share)
    silences = _Silences.of(window, at, known)
    at, dark = at[known], share[known] < DARK_SHARE
    runs = [run for run in _without_flicker(_runs(at, dark), silences) if run.dark]
    found = [stretch for run in runs for stretch in _pieces(run, at, silences, longest)]
    # Since when it is dark at the first reading lies before it.
    return found[1:] if found and found[0].begin == at[0] else found


def _pieces(run: _Run, at: Times, silences: _Silences, longest: int) -> Iterator[Dark]:
    """A dark run, cut at each silence that may hide a day."""
    begin = run.begin
    for silence in silences.within(run.begin, run.end):
        position = int(at.searchsorted(silence.end))
        if position == at.size:
            yield Dark(begin, silences.hiding(begin, longest), None, silence.begin, silence.lasts > BREAK)
            return
        if silence.lasts > BREAK:
            yield Dark(begin, silences.hiding(begin, longest), int(at[position]), silence.begin, True)
            begin = int(at[position])
    # In a silence at its end it may have been dark no longer than at its begin, however long the silence is.
    end_hidden_since = None if run.end is None else silences.hiding(run.end, run.end - begin)
    yield Dark(begin, silences.hiding(begin, longest), run.end, end_hidden_since, run.end is not None)


def _runs(at: Times, dark: npt.NDArray[np.bool_]) -> list[_Run]:
    if not at.size:
        return []
    rows = [0, *(np.flatnonzero(dark[1:] != dark[:-1]) + 1).tolist()]
    ends: list[int | None] = [*(int(at[row]) for row in rows[1:]), None]
    return [_Run(bool(dark[row]), int(at[row]), end) for row, end in zip(rows, ends, strict=True)]


def _without_flicker(runs: Sequence[_Run], silences: _Silences) -> list[_Run]:
    joined: list[_Run] = []
    for run in runs:
        is_flicker = len(joined) >= 2 and run.dark and run.begin - joined[-1].begin < FLICKER
        if is_flicker and not silences.touching(joined[-1].begin, run.begin):
            joined.pop()
            joined[-1] = replace(joined[-1], end=run.end)
        else:
            joined.append(run)
    return joined


def _light(window: Window, arrays: Sequence[str]) -> tuple[Times, npt.NDArray[np.float64]]:
    """The moments of the arrays' readings, each once, and how much light there was from then on, 0 to 1.

    The share is NaN where too few arrays were heard. A reading with a bad status class silences its array
    until the next good one.
    """
    frame = window.readings
    frame = frame[frame["item"].isin(arrays)]
    if frame.empty:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float64)
    utc = frame["ts"].dt.tz_convert("UTC").dt.tz_localize(None)
    at = utc.to_numpy(dtype="datetime64[us]").astype(np.int64)
    volts = frame["value"].to_numpy(dtype=np.float64, na_value=np.nan)
    status = frame["status_class"].astype("Float64").to_numpy(dtype=np.float64, na_value=np.nan)
    volts = np.where(np.isnan(status) | (status == GOOD_STATUS_CLASS), volts, np.nan)
    item = frame["item"].to_numpy()

    # Of two readings of one moment the higher decides, a bad one never.
    order = np.lexsort((np.nan_to_num(volts, nan=-np.inf), at))
    order = order[at[order] < microseconds(window.end)]
    at, volts, item = at[order], volts[order], item[order]
    rows = np.arange(at.size)
    light = np.full((len(arrays), at.size), np.nan)
    for number, array in enumerate(arrays):
        latest = np.maximum.accumulate(np.where(item == array, rows, -1))
        heard = (latest >= 0) & (at - at[latest] <= STALE)
        light[number, heard] = np.clip(
            (volts[latest[heard]] - DARK_VOLTS) / (LIT_VOLTS - DARK_VOLTS), 0.0, 1.0
        )
    count = np.count_nonzero(~np.isnan(light), axis=0)
    share = np.full(at.size, np.nan)
    enough = count >= LEAST_ARRAYS
    share[enough] = np.nansum(light[:, enough], axis=0) / count[enough]
    last = np.append(at[1:] != at[:-1], True)[: at.size]
    return at[last], share[last]


@dataclass(frozen=True)
class _Silence:
    begin: int
    end: int

    @property
    def lasts(self) -> int:
        return self.end - self.begin


@dataclass(frozen=True)
class _Silences:
    """The times in which the arrays could not be heard, in order, none touching another."""

    all: tuple[_Silence, ...]

    @classmethod
    def of(cls, window: Window, at: Times, known: npt.NDArray[np.bool_]) -> _Silences:
        start, end = microseconds(window.start), microseconds(window.end)
        heard = at[known]
        if window.live is None:
            edges = np.append(heard, end)
            quiet = np.flatnonzero(np.diff(edges) > SILENCE)
            spans = [(int(edges[row]), int(edges[row + 1])) for row in quiet]
        else:
            live = [(microseconds(interval.start), microseconds(interval.end)) for interval in window.live]
            bounds = [start, *(edge for interval in live for edge in interval), end]
            spans = [(a, b) for a, b in zip(bounds[::2], bounds[1::2], strict=True) if b - a >= SHORT_OUTAGE]
        for row in np.flatnonzero(~known[1:] & known[:-1]) + 1:
            position = heard.searchsorted(at[row])
            spans.append((int(at[row]), int(heard[position]) if position < heard.size else end))
        merged: list[_Silence] = []
        for a, b in sorted(spans):
            if merged and a <= merged[-1].end:
                merged[-1] = _Silence(merged[-1].begin, max(b, merged[-1].end))
            else:
                merged.append(_Silence(a, b))
        return cls(tuple(merged))

    def hiding(self, moment: int, longest: int) -> int | None:
        """Since when a change that was seen at a moment may have happened; None where it was seen at once."""
        position = bisect_left(self.all, moment, key=_begin) - 1
        if position < 0 or self.all[position].end < moment - AFTER_SILENCE:
            return None
        return max(self.all[position].begin, moment - longest)

    def within(self, begin: int, end: int | None) -> tuple[_Silence, ...]:
        """Those that begin from `begin` on and are over before `end`; up to the last one without an end."""
        first = bisect_left(self.all, begin, key=_begin)
        return tuple(silence for silence in self.all[first:] if end is None or silence.end < end)

    def touching(self, begin: int, end: int) -> bool:
        """Whether one hides the begin or the end of this time, or lies in it."""
        return any(s.begin <= end and s.end >= begin - AFTER_SILENCE for s in self.all)


def _begin(silence: _Silence) -> int:
    return silence.begin
