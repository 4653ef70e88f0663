"""When was the station not heard? Losses of signal from the link's state, or from the ticks of its clock."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from peebot_dagster.detectors.detector import LiveInterval, Window
from peebot_dagster.detectors.level_readings import GOOD_STATUS_CLASS, microseconds

SECOND = 1_000_000

LEAST_LOSS = 5 * SECOND
"""What is shorter is no loss worth telling: the first tick after a connection, a flicker of the flag."""

SILENCE = 10 * SECOND
"""The clock ticks at 1 Hz; without a tick for 10 to 15 s the signal is lost, announced or not."""

LONGEST_LOSS = 15 * 60 * SECOND
"""Measured losses last 12 to 60 s or 2 to 11 min. What is longer is told by its begin and by the return."""

STEADY_TICKS, STEADY_SPAN = 5, 30 * SECOND
"""Ticks within so much time without which silence tells nothing: a thinned record ticks once a minute."""

_EDGE = 2 * SECOND
"""Between two states of the link, written down by one daemon or by two."""

_ANNOUNCED_BEFORE = 30 * SECOND
"""The link's state is dated by the ground's clock, the announcement by the station's."""

_NEVER = np.iinfo(np.int64).max

Times = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Loss:
    """Signal lost from `begin` on, in microseconds since 1970 UTC.

    `end` is the end as far as it is known: the moment the station was heard again when `is_over`, else the
    last moment that is known. `announced`: the status class of the clock told it. `begin_hidden` and
    `end_hidden` mean that the ground itself was away just before or after; `begin` is then the first moment
    known to be lost. `true_begin` is False where the loss may be older than what can be seen, or is none.
    `steady_after` is False where the clock, heard again, was not heard to tick at its pace.
    """

    begin: int
    end: int
    is_over: bool
    announced: bool
    begin_hidden: bool = False
    end_hidden: bool = False
    true_begin: bool = True
    steady_after: bool = True
    begin_of_record: bool = False


def losses_of(window: Window, clock_item: str) -> list[Loss]:
    """All losses of signal in the window, in order of time: by the link where its state is known."""
    at, good = _ticks(window, clock_item)
    if window.live is None:
        found = _by_ticks(at, good, microseconds(window.end))
    else:
        found = _by_link(window, window.live, at[~good])
    return [loss for loss in found if loss.end - loss.begin >= LEAST_LOSS]


def _ticks(window: Window, item: str) -> tuple[Times, npt.NDArray[np.bool_]]:
    """The moments of the clock's ticks, sorted, each once, and whether each says that there is a signal."""
    frame = window.readings
    frame = frame[frame["item"] == item]
    if frame.empty:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.bool_)
    utc = frame["ts"].dt.tz_convert("UTC").dt.tz_localize(None)
    at = utc.to_numpy(dtype="datetime64[us]").astype(np.int64)
    status = frame["status_class"].astype("Float64").to_numpy(dtype=np.float64, na_value=np.nan)
    good = np.isnan(status) | (status == GOOD_STATUS_CLASS)
    # Of two ticks of one moment the good one decides.
    order = np.lexsort((good, at))
    at, good = at[order], good[order]
    keep = np.append(at[1:] != at[:-1], True) & (at < microseconds(window.end))
    return at[keep], good[keep]


def _by_link(window: Window, intervals: Iterable[LiveInterval], announcements: Times) -> list[Loss]:
    start, end = microseconds(window.start), microseconds(window.end)
    live = [(microseconds(interval.start), microseconds(interval.end)) for interval in intervals]
    if window.lost is None:
        edges = [start, *(edge for interval in live for edge in interval), end]
        lost = [(a, b) for a, b in zip(edges[::2], edges[1::2], strict=True) if a < b]
    else:
        lost = [(microseconds(i.start), min(microseconds(i.end), end)) for i in window.lost]
    live_starts, live_ends = [a for a, _ in live], [b for _, b in live]

    def is_over(until: int) -> bool:
        # The record of a loss that goes on ends where it was written last, a little before the window's end.
        return until < end and (end - until > _EDGE or _any_near(live_starts, until))

    # Without LOS intervals the first loss may be older than the window.
    cut = start if window.lost is None else None
    return [
        Loss(
            begin=begin,
            end=until,
            is_over=is_over(until),
            announced=_any_between(
                announcements, begin - _ANNOUNCED_BEFORE, min(until, begin + LONGEST_LOSS)
            ),
            begin_hidden=begin >= start and not _any_near(live_ends, begin),
            end_hidden=is_over(until) and not _any_near(live_starts, until),
            true_begin=begin != cut,
            begin_of_record=window.lost is not None,
        )
        for begin, until in lost
    ]


def _any_between(times: Times, first: int, end: int) -> bool:
    return bool(np.searchsorted(times, end) > np.searchsorted(times, first))


def _any_near(times: Sequence[int], moment: int) -> bool:
    position = bisect_left(times, moment - _EDGE)
    return position < len(times) and times[position] <= moment + _EDGE


def _by_ticks(at: Times, good: npt.NDArray[np.bool_], end: int) -> list[Loss]:
    """Between two good ticks, and after the last one, the signal may have been lost."""
    heard, bad = at[good], at[~good]
    found: list[Loss] = []
    if at.size and not good[0]:
        until = int(heard[0]) if heard.size else end
        found.append(Loss(int(at[0]), until, bool(heard.size), True, true_begin=False))
    after = np.append(heard[1:], end)
    notices = np.append(bad, _NEVER)[np.searchsorted(bad, heard)]
    for position in np.flatnonzero((notices < after) | (after - heard > SILENCE)).tolist():
        tick, notice, until = int(heard[position]), int(notices[position]), int(after[position])
        announced = notice < min(until, tick + LONGEST_LOSS)
        steady = _are_steady(heard, position - STEADY_TICKS + 1)
        # Silence tells of a loss only where the clock was heard to tick.
        late = steady and notice - tick > SILENCE
        found.append(
            Loss(
                begin=notice if announced and not late else tick,
                end=until,
                is_over=position + 1 < heard.size,
                announced=announced,
                true_begin=announced or steady,
                steady_after=_are_steady(heard, position + 1),
            )
        )
    return found


def _are_steady(ticks: Times, first: int) -> bool:
    last = first + STEADY_TICKS - 1
    return first >= 0 and last < ticks.size and bool(ticks[last] - ticks[first] <= STEADY_SPAN)
