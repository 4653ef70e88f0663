from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iss_simulator.station import Station
from iss_simulator.urine_tank import LEVEL_ITEM
from peebot_local.station_history import Stretch, link_stretches, load_history

SINCE = datetime(2026, 5, 1, tzinfo=UTC)
UNTIL = SINCE + timedelta(hours=3)


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


def test_loading_the_same_history_again_adds_nothing(
    connection: psycopg.Connection, database_url: str
) -> None:
    with psycopg.connect(database_url, autocommit=True) as loading:
        first = load_history(loading, Station(3, SINCE), SINCE, UNTIL)
        link = loading.execute(
            "SELECT source, state, started_at, ended_at FROM link_interval ORDER BY 3"
        ).fetchall()
        assert load_history(loading, Station(3, SINCE), SINCE, UNTIL) == 0
        again = loading.execute(
            "SELECT source, state, started_at, ended_at FROM link_interval ORDER BY 3"
        ).fetchall()
    assert first == len(list(Station(3, SINCE).history(UNTIL)))
    assert again == link
    (levels,) = connection.execute(
        "SELECT array_agg(raw_value ORDER BY ts) FROM telemetry_reading"
        " JOIN telemetry_channel USING (channel_id) WHERE item_id = %s",
        (LEVEL_ITEM,),
    ).fetchone() or pytest.fail("no level")
    assert levels == [u.value for u in Station(3, SINCE).history(UNTIL) if u.item == LEVEL_ITEM]
