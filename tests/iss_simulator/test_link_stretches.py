from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from iss_simulator.link_stretches import Stretch, link_stretches
from iss_simulator.station import Station

SINCE = datetime(2026, 5, 1, tzinfo=UTC)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), hours=st.floats(0.1, 48))
def test_the_link_has_one_state_at_each_moment(seed: int, hours: float) -> None:
    until = SINCE + timedelta(hours=hours)
    stretches = list(link_stretches(Station(seed, SINCE), SINCE, until))
    assert stretches[0].start == SINCE
    assert stretches[-1].end == until
    assert all(before.end == after.start for before, after in pairwise(stretches))
    assert all(stretch.start < stretch.end for stretch in stretches)


def test_what_the_station_lost_is_los() -> None:
    station = Station(3, SINCE)
    until = SINCE + timedelta(days=1)
    lost = [event for event in station.truth_until(until) if event.kind == "los"]
    assert lost
    stretches = set(link_stretches(station, SINCE, until))
    assert all(
        Stretch("LOS", event.started_at, event.ended_at) in stretches
        for event in lost
        if event.ended_at < until
    )
