"""Several daemons on one feed: hot standby and slices."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

OPEN = "SELECT source, state FROM link_interval WHERE ended_at IS NULL ORDER BY source"
ROWS_MORE_THAN_READINGS = (
    "SELECT count(*) - count(DISTINCT (channel_id, raw_value)) FROM telemetry_reading"
    " JOIN telemetry_channel USING (channel_id) WHERE item_id NOT LIKE 'TIME_%'"
)
# The time from the first reading while live to the last sign of a daemon, and how much of it was live.
LIVE_TIME = """
WITH span AS (
    SELECT greatest((SELECT min(started_at) FROM link_interval WHERE state = 'LIVE'),
                    (SELECT min(ts) FROM telemetry_reading WHERE channel_id = c.channel_id)) AS started_at,
           (SELECT max(last_seen_at) FROM link_interval) AS ended_at
    FROM telemetry_channel c WHERE item_id = 'NODE3000005'
)
SELECT extract(epoch FROM ended_at - started_at)::float8,
    (SELECT sum(live_seconds)::float8 FROM telemetry_minute JOIN telemetry_channel USING (channel_id)
     WHERE item_id = 'NODE3000005')
FROM span
"""


def wait_until(condition: Callable[[], object], timeout_s: float = 120.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


@pytest.fixture
def start(start_daemon: Any, tmp_path: Path) -> Callable[..., Any]:
    """Starts a daemon that shares nothing but the database and the server."""

    def start(name: str, *arguments: str) -> Any:
        return start_daemon(*arguments, "--spool", str(tmp_path / name))

    return start


@pytest.mark.parametrize(
    ("feed", "named"), [("official", True), ("tlcp", False)], ids=["two instances", "one source"]
)
def test_of_two_daemons_on_the_same_channels_one_may_be_killed(
    breakable_database: Any, breakable_server: Any, counting_station: Any, start: Any, feed: str, named: bool
) -> None:  # fmt: skip
    database, station = breakable_database, counting_station
    common = (breakable_server.url, database.url, "--feed", feed)
    one, other = (("--instance", "a"), ("--instance", "b")) if named else ((), ())

    def links() -> list[tuple[str, str]]:
        with psycopg.connect(database.url) as connection:
            return connection.execute(OPEN).fetchall()

    first = start("a", *common, *one)
    station.send_until_heard(database)
    wait_until(lambda: links() == [("isslive/a" if named else "isslive", "LIVE")])
    second = start("b", *common, *other)
    with station.sending(200):
        if named:
            wait_until(lambda: links() == [("isslive/a", "LIVE"), ("isslive/b", "LIVE")])
        else:
            wait_until(lambda: "standing by" in second.log())
        time.sleep(2)
        first.kill()
        time.sleep(4)
        first.start()
        time.sleep(4)
    wait_until(lambda: database.stored() >= set(station.sent))
    assert database.stored() == set(station.sent)
    assert second.terminate() == 0
    assert first.terminate() == 0
    assert database.number(ROWS_MORE_THAN_READINGS) == 0
    assert database.number("SELECT count(*) FROM telemetry_reading") == database.number(
        "SELECT sum(readings) FROM telemetry_revision"
    )
    who_is_down = "SELECT count(*) FROM link_interval WHERE state = 'DOWN' AND source <> 'isslive/a'"
    assert database.number(who_is_down) == 0
    assert database.number("SELECT count(*) FROM live_intervals('2000-01-01', '2100-01-01')") == 1
    with psycopg.connect(database.url) as connection:
        connection.execute("SELECT refresh_telemetry_minute(now() - interval '10 minutes', now())")
        ((whole_s, live_s),) = connection.execute(LIVE_TIME).fetchall()
    assert whole_s > 10
    assert live_s == pytest.approx(whole_s, abs=0.05)


def test_two_slices_together_hear_what_one_daemon_would(
    breakable_database: Any, breakable_server: Any, counting_station: Any, start: Any
) -> None:
    database, station = breakable_database, counting_station
    common = (breakable_server.url, database.url)
    node = start("node", *common, "--instance", "node", "--channels", "NODE3*")
    rest = start("rest", *common, "--instance", "rest", "--channels", "[!N]*")
    station.send_until_heard(database)
    with station.sending(100):
        time.sleep(3)
    wait_until(lambda: database.stored() == set(station.sent))
    with psycopg.connect(database.url) as connection:
        assert connection.execute(OPEN).fetchall() == [("isslive/node", "LIVE"), ("isslive/rest", "LIVE")]
    assert (node.terminate(), rest.terminate()) == (0, 0)
