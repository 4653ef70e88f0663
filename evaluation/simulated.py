"""Simulated stations as windows for a detector, each with the truth about it."""

from __future__ import annotations

import math
from collections.abc import Collection
from datetime import datetime, timedelta

import pandas as pd

from iss_simulator.catalogue import packaged_channels
from iss_simulator.conditions import MEASURED, Conditions
from iss_simulator.link_stretches import link_stretches
from iss_simulator.station import Station
from iss_simulator.truth import TrueEvent
from peebot_dagster.detectors.detector import LiveInterval, LostInterval, Window

_UPDATES_PER_S_OF_AN_ITEM = 0.2


def simulated_window(
    items: Collection[str], seed: int, since: datetime, days: float, conditions: Conditions = MEASURED
) -> tuple[Window, list[TrueEvent]]:
    """What the ground heard of these items in the days from `since` (UTC) on, and what really happened then.

    The window is what a store would give: the readings in order of time with a good status class where the
    station says so, and the stretches in which the link was live, or lost. The truth is that of all items.
    """
    until = since + timedelta(days=days)
    # A channel without a story costs as much as one that is listened to: only those asked for are made.
    channels = [channel for channel in packaged_channels() if channel.item in items]
    rate = 1.0 + _UPDATES_PER_S_OF_AN_ITEM * len(channels)
    station = Station(seed, since, channels, rate, conditions=conditions)
    updates = list(station.updates(until, items))
    readings = pd.DataFrame(
        {
            "ts": pd.to_datetime([update.ts for update in updates], utc=True),
            "item": pd.Series([update.item for update in updates], dtype="object"),
            "value": pd.Series([_number(update.value) for update in updates], dtype="float64"),
            "status_class": pd.Series([int(update.status_class) for update in updates], dtype="Int64"),
        }
    )
    stretches = list(link_stretches(station, since, until))
    live = tuple(LiveInterval(s.start, s.end) for s in stretches if s.state == "LIVE")
    lost = tuple(LostInterval(s.start, s.end) for s in stretches if s.state == "LOS")
    return Window(since, until, readings, live, lost), station.truth_until(until)


def _number(value: str) -> float:
    """The value as the store has it: NaN for text."""
    try:
        return float(value)
    except ValueError:
        return math.nan
