"""The daemon is killed at random moments, from a seed, and the feed repeats nothing: what that costs is
bounded, and the link shows it (docs/decisions/0010-spool.md).

PEEBOT_TEST_FULL=1 takes 10 minutes instead of some kills. PEEBOT_TEST_SEED chooses other moments.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from ingest_daemon.daemon import STEP_S
from ingest_daemon.store import STUCK_S

FULL = os.environ.get("PEEBOT_TEST_FULL") == "1"
pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600 if FULL else 900)]
SEED = int(os.environ.get("PEEBOT_TEST_SEED", "1"))

RATE = 200
IN_MEMORY = timedelta(seconds=STEP_S + STUCK_S)
"""How old the oldest update may be that is neither stored nor on disk, if the database hangs."""
BACK = timedelta(seconds=15)
"""From the start of a daemon to its first sign, on a machine with much else to do."""


def wait_until(condition: Callable[[], object], timeout_s: float = 120.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


@dataclass(frozen=True)
class Death:
    at: datetime
    started_again_at: datetime


@contextmanager
def hanging(database: Any) -> Iterator[None]:
    """Nobody can store a reading meanwhile, and nobody is told why."""
    with psycopg.connect(database.url) as connection:
        connection.execute("LOCK TABLE telemetry_revision IN ACCESS EXCLUSIVE MODE")
        yield


@pytest.mark.parametrize("feed", ["official", "tlcp"])
def test_what_a_killed_daemon_did_not_hear_or_keep_is_bounded_and_lies_in_no_live_time(
    breakable_database: Any, breakable_server: Any, counting_station: Any, start_daemon: Any, feed: str,
    record_property: Callable[[str, object], None],
) -> None:  # fmt: skip
    chance = random.Random(SEED)
    database = breakable_database
    daemon = start_daemon(breakable_server.url, database.url, "--feed", feed)
    counting_station.send_until_heard(database)
    sent = counting_station.sent
    deaths: list[Death] = []
    deadline = time.monotonic() + (600 if FULL else 0)
    with counting_station.sending(RATE):
        while len(deaths) < 8 or time.monotonic() < deadline:
            # Some die before they have heard anything.
            if chance.random() < 0.8:
                wait_until(lambda: database.number(_heard_since(deaths)) > 0)
            time.sleep(chance.uniform(0.0, 2.0))
            hangs = chance.random() < 0.4
            with hanging(database) if hangs else nullcontext():
                # For so long that nothing may be lost but for the spool.
                time.sleep(chance.uniform(2.0, 3.0) if hangs else 0.0)
                at = datetime.now(UTC)
                if chance.random() < 0.2:
                    daemon.terminate()
                else:
                    daemon.kill()
            time.sleep(chance.choice([0.0, chance.uniform(0.0, 1.0)]))
            deaths.append(Death(at, datetime.now(UTC)))
            daemon.start()
        wait_until(lambda: list(sent)[-50] in database.stored())
    wait_until(lambda: list(sent)[-1] in database.stored())
    assert daemon.terminate() == 0
    stored = database.stored()
    assert stored <= set(sent)
    missing = [ts for key, ts in sent.items() if key not in stored]
    with psycopg.connect(database.url) as connection:
        live = connection.execute(
            "SELECT started_at, ended_at FROM live_intervals('2000-01-01', '2100-01-01')"
        ).fetchall()
        ((longest_way,),) = connection.execute(
            "SELECT max(received_at - ts) FROM telemetry_reading WHERE NOT is_snapshot"
        ).fetchall()
    # An update is older than its arrival, by which the link goes: by as much as any that did arrive.
    slack = timedelta(seconds=0.3) + longest_way
    unshown = [ts for ts in missing if any(start + slack < ts < end - slack for start, end in live)]
    assert not unshown, f"{len(unshown)} of {len(missing)} lie in LIVE time: {unshown[:3]}, {live}"
    # Each is due to a death: to what was in memory, or to the time until the station was heard again.
    cost = [(death.at - IN_MEMORY - longest_way, _heard_again(live, death) + slack) for death in deaths]
    unexplained = [ts for ts in missing if not any(start <= ts <= end for start, end in cost)]
    assert not unexplained, f"{len(unexplained)} of {len(missing)}: {unexplained[:3]}, {deaths}"
    # Who is left in peace hears the station again in time.
    for death, killed_again_at in zip(deaths, [*(death.at for death in deaths[1:]), None], strict=True):
        heard_at = _heard_again(live, death)
        if killed_again_at is None or heard_at < killed_again_at:
            assert heard_at - death.started_again_at < BACK
    record_property("missing", len(missing))
    assert database.number("SELECT count(*) FROM rejected_reading") == 0


def _heard_since(deaths: list[Death]) -> str:
    since = deaths[-1].started_again_at.isoformat() if deaths else "2000-01-01"
    return f"SELECT count(*) FROM telemetry_reading WHERE received_at > '{since}'"  # noqa: S608  our own


def _heard_again(live: list[tuple[datetime, datetime]], death: Death) -> datetime:
    return min(start for start, _ in live if start >= death.at)
