from __future__ import annotations

from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from iss_simulator.station import Station
from iss_simulator.urine_tank import LEVEL_ITEM
from peebot_local.station_history import load_history

SINCE = datetime(2026, 5, 1, tzinfo=UTC)
UNTIL = SINCE + timedelta(hours=3)


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
