"""What the link to a simulated station was at each moment."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

from iss_simulator.station import Station

_LINK_STATE = {"los": "LOS", "outage": "DOWN"}


class Stretch(NamedTuple):
    """The link was in one state from start to end (UTC, end exclusive)."""

    state: str
    start: datetime
    end: datetime


def link_stretches(station: Station, since: datetime, until: datetime) -> Iterator[Stretch]:
    """The states of the link in [since, until), without a gap between them."""
    reached = since
    for event in station.truth_until(until):
        state = _LINK_STATE.get(event.kind)
        if state is None:
            continue
        start, end = max(event.started_at, reached), min(event.ended_at, until)
        if start > reached:
            yield Stretch("LIVE", reached, start)
        if end > start:
            yield Stretch(state, start, end)
        reached = max(reached, end)
    if reached < until:
        yield Stretch("LIVE", reached, until)
