"""Everything fails at random, from a seed; afterwards what is stored is what was sent.

By default each run takes seconds. PEEBOT_TEST_FULL=1 takes as long as the promise says: 10 minutes at 70/s,
60 s at 5,000/s, 10 minutes of faults. PEEBOT_TEST_SEED chooses other moments.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

FULL = os.environ.get("PEEBOT_TEST_FULL") == "1"
pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200 if FULL else 1800)]
SEED = int(os.environ.get("PEEBOT_TEST_SEED", "1"))
ENDINGS = (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL)
both_feeds = pytest.mark.parametrize("feed", ["official", "tlcp"])


def wait_until(condition: Callable[[], object], timeout_s: float = 120.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def assert_all_is_stored(database: Any, sent: set[tuple[str, str]], timeout_s: float = 120.0) -> None:
    wait_until(lambda: database.number("SELECT count(*) FROM telemetry_reading") >= len(sent), timeout_s)
    deadline = time.monotonic() + 30
    while (stored := database.stored()) != sent and time.monotonic() < deadline:
        time.sleep(0.5)
    missing, strange = sent - stored, stored - sent
    assert not missing, f"{len(missing)} of {len(sent)} are lost, as {sorted(missing)[:5]}"
    assert not strange


@pytest.mark.parametrize(
    ("feed", "rate", "away_s"),
    [("official", 70, 600 if FULL else 10), ("tlcp", 5000, 60 if FULL else 6)],
)
def test_what_comes_while_the_database_is_away_is_on_disk_and_stored_afterwards(
    breakable_database: Any, breakable_server: Any, counting_station: Any, start_daemon: Any, tmp_path: Path,
    feed: str, rate: int, away_s: float,
) -> None:  # fmt: skip
    # Memory alone would hold less than a second of it.
    capacity = ("--queue-capacity", str(rate // 2 + 500))
    daemon = start_daemon(breakable_server.url, breakable_database.url, "--feed", feed, *capacity)
    counting_station.send_until_heard(breakable_database)
    memory_mb = daemon.memory_mb()
    with counting_station.sending(rate):
        time.sleep(1)
        breakable_database.stop(signal.SIGQUIT)
        time.sleep(away_s)
        wait_until(lambda: spooled_bytes(tmp_path) > 0)
        assert daemon.memory_mb() < memory_mb + 100
        breakable_database.start()
        time.sleep(1)
    assert_all_is_stored(breakable_database, set(counting_station.sent))
    assert breakable_database.number("SELECT count(*) FROM rejected_reading") == 0
    # Nobody who looks at the link sees that the database was away.
    assert breakable_database.number("SELECT count(*) FROM link_interval WHERE state = 'LIVE'") == 1
    wait_until(lambda: spooled_bytes(tmp_path) == 0)
    assert daemon.terminate() == 0


def spooled_bytes(folder: Path) -> int:
    total = 0
    for path in (folder / "spool").glob("*.spool"):
        try:
            total += path.stat().st_size
        except FileNotFoundError:
            continue
    return total


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
@both_feeds
def test_a_full_disk_bounds_memory_and_what_it_costs_is_counted(
    breakable_database: Any, breakable_server: Any, counting_station: Any, start_daemon: Any,
    small_disk: Path, feed: str,
) -> None:  # fmt: skip
    capacity = ("--queue-capacity", "2000", "--spool", str(small_disk / "spool"))
    daemon = start_daemon(breakable_server.url, breakable_database.url, "--feed", feed, *capacity)
    counting_station.send_until_heard(breakable_database)
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(900_000))
    memory_mb = daemon.memory_mb()
    with counting_station.sending(1500):
        breakable_database.stop(signal.SIGQUIT)
        wait_until(lambda: "No space left on device" in daemon.log())
        # Four times what fits into memory.
        enough = len(counting_station.sent) + 8000
        wait_until(lambda: len(counting_station.sent) >= enough)
        assert daemon.memory_mb() < memory_mb + 100
        # Somebody tidies up, long before the database is back.
        ballast.unlink()
        wait_until(lambda: "the spool takes updates again" in daemon.log())
        time.sleep(1)
    breakable_database.start()
    if feed == "tlcp":
        # It has stopped reading: the server knows, and keeps the rest.
        assert_all_is_stored(breakable_database, set(counting_station.sent))
        return
    overflow = "SELECT sum((fields ->> 'count')::int) FROM rejected_reading WHERE reason = 'queue_overflow'"
    wait_until(lambda: list(counting_station.sent)[-1] in breakable_database.stored())
    assert daemon.terminate() == 0
    missing = set(counting_station.sent) - breakable_database.stored()
    assert 0 < len(missing) <= breakable_database.number(overflow) <= len(missing) + counting_station.ticks


def test_the_database_may_move_to_another_host_and_back(
    breakable_database: Any, second_database: Any, breakable_server: Any, counting_station: Any,
    start_daemon: Any,
) -> None:  # fmt: skip
    first, second = breakable_database, second_database
    hosts = f"127.0.0.1:{first.port},127.0.0.1:{second.port}"
    url = f"postgresql://peebot:{first.password}@{hosts}/postgres?target_session_attrs=read-write"
    daemon = start_daemon(breakable_server.url, url, "--feed", "tlcp")
    counting_station.send_until_heard(first)
    with counting_station.sending(500):
        time.sleep(1)
        first.stop(signal.SIGKILL)
        wait_until(lambda: second.number("SELECT count(*) FROM telemetry_reading") > 500)
        first.start()
        before = first.number("SELECT count(*) FROM telemetry_reading")
        second.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        second.execute("SELECT pg_reload_conf()")
        wait_until(lambda: first.number("SELECT count(*) FROM telemetry_reading") > before + 500)
    sent = set(counting_station.sent)
    wait_until(lambda: first.stored() | second.stored() >= sent)
    assert first.stored() | second.stored() == sent
    assert daemon.terminate() == 0


@contextmanager
def playing(
    rows: list[tuple[datetime, str, str]], folder: Path, speed: float, rewind_s: float
) -> Iterator[Any]:
    """A server that plays the rows: its address, and an event that is set when all were played."""
    recording = folder / "recording.csv"
    lines = (f"{ts:%Y-%m-%dT%H:%M:%SZ},{item},{value}" for ts, item, value in rows)
    recording.write_text("\n".join(["ts_utc,item,value", *lines]))
    arguments = ["recording", str(recording), "--speed", str(speed), "--rewind", str(rewind_s)]
    process = subprocess.Popen(
        [sys.executable, "-m", "iss_simulator", *arguments], stdout=subprocess.PIPE, text=True
    )
    output = process.stdout
    assert output is not None
    try:
        address = json.loads(output.readline())["url"]
        finished = threading.Event()
        threading.Thread(target=lambda: output.readline() and finished.set(), daemon=True).start()
        yield address, finished
    finally:
        process.terminate()
        process.wait(timeout=60)


@both_feeds
def test_kill_9_at_any_moment_of_daemon_and_database_loses_and_doubles_nothing(
    breakable_database: Any, start_daemon: Any, tmp_path: Path, feed: str
) -> None:
    database = breakable_database
    chance = random.Random(SEED)
    began = datetime(2024, 12, 31, 20, tzinfo=UTC)
    # 500 rows a second; the server goes back by less than the database is away.
    seconds, speed, rewind_s = 300 if FULL else 14, 100, 2.0
    rows = [
        (began + timedelta(seconds=number // 5), f"USLAB0000{number % 5 + 30}", str(number))
        for number in range(seconds * speed * 5)
    ]
    with playing(rows, tmp_path, speed, rewind_s) as (address, finished):
        replay = ("--source", "replay", "--clock", "feed", "--as-of", "2025-02-01", "--feed", feed)
        daemon = start_daemon(address, database.url, *replay)
        wait_until(lambda: database.number("SELECT count(*) FROM telemetry_reading") > 500)
        rounds = 0
        while not finished.is_set():
            rounds += 1
            time.sleep(chance.uniform(0.1, 2.0))
            what = chance.choice(["daemon", "database", "both"])
            if what != "daemon":
                database.stop(chance.choice(ENDINGS))
            if what == "database":
                # The daemon dies while the spool is all that there is.
                time.sleep(chance.uniform(rewind_s, 2 * rewind_s))
            daemon.kill()
            if what == "database":
                daemon.start()
                time.sleep(chance.uniform(0.0, rewind_s))
            if not database.is_running():
                database.start()
            if not daemon.is_running():
                daemon.start()
            time.sleep(chance.uniform(0.5, 2.0))
        sent = {(item, value) for _, item, value in rows}
        assert rounds > 2
        assert_all_is_stored(database, sent)
        wait_until(daemon.listens)
        assert daemon.terminate() == 0
    assert (
        database.number("SELECT count(*) - count(DISTINCT (channel_id, event_id)) FROM telemetry_reading")
        == 0
    )
    assert database.number("SELECT sum(readings) FROM telemetry_revision") == database.number(
        "SELECT count(*) FROM telemetry_reading"
    )


VERBS: dict[str, Callable[[Any], Any]] = {
    "drop": lambda faults: faults.drop(),
    "loop": lambda faults: faults.loop(),
    "end": lambda faults: faults.end(48),
    "forget": lambda faults: faults.forget(),
    "hold": lambda faults: faults.hold(),
}
NOTICED_S = 4.0
"""Silence after which a connection counts as dead: keepalive, stalled and reconnect time-outs of the official
client (2 + 1 + 1 s), keepalive and patience of ours (2 + 2 s)."""
BACK_S = {
    # Noticed, and one pause after an attempt that failed.
    "official": NOTICED_S + 4.0,
    # Noticed, and the pauses after four attempts that failed.
    "tlcp": NOTICED_S + 0.1 + 0.2 + 0.4 + 0.8,
}
"""Seconds after the last of several faults until the station is heard again."""
DOWN_S = {
    # The session goes on over another connection, with all that was said meanwhile.
    "drop": {"official": 0.0, "tlcp": 0.0},
    "close": {"official": 0.0, "tlcp": 0.0},
    "loop": {"official": 0.0, "tlcp": 0.0},
    "hold": {"official": 0.0, "tlcp": 0.0},
    # Another session at once; what was said in between is gone.
    "end": {"official": 0.1, "tlcp": 0.1},
    # Our own reader notices a reset at once.
    "forget": {"official": NOTICED_S + 0.2, "tlcp": 0.3},
}
"""Seconds that a fault alone costs, by how the clients reconnect."""
BUSY_S = 2.0
"""What a machine with much else to do adds to that."""


@both_feeds
def test_a_feed_that_fails_in_every_way_costs_only_what_it_skipped_itself_and_the_link_shows_it(
    breakable_database: Any, breakable_server: Any, counting_station: Any, start_daemon: Any, feed: str,
    record_property: Callable[[str, object], None],
) -> None:  # fmt: skip
    chance = random.Random(SEED)
    database, server = breakable_database, breakable_server
    daemon = start_daemon(server.url, database.url, "--feed", feed)
    counting_station.send_until_heard(database)
    sent = counting_station.sent
    deadline = time.monotonic() + (600 if FULL else 30)
    spells: list[tuple[datetime, datetime]] = []
    with counting_station.sending(100):
        while time.monotonic() < deadline:
            began = datetime.now(UTC)
            # The next ones find it while it recovers from the first.
            for _ in range(chance.choice([1, 1, 1, 2, 3])):
                verb = chance.choice([*VERBS, "close"])
                if verb == "close":
                    server.wait_for(lambda server: server.faults.close())
                else:
                    server.call(lambda server: VERBS[verb](server.faults))  # noqa: B023
                time.sleep(chance.uniform(0.2, 4.0))
                server.call(lambda server: server.faults.resume())
            spells.append((began, datetime.now(UTC)))
            newest = list(sent)[-1]
            wait_until(lambda: _is_heard(database, newest), BACK_S[feed] + BUSY_S)  # noqa: B023
            time.sleep(chance.uniform(0.0, 2.0))
        # Everybody comes to rest.
        wait_until(lambda: list(sent)[-50] in database.stored())
    wait_until(lambda: list(sent)[-1] in database.stored())
    assert daemon.terminate() == 0
    stored = database.stored()
    assert stored <= set(sent)
    missing = {key: ts for key, ts in sent.items() if key not in stored}
    record_property("skipped_by_the_feed", len(missing))
    with psycopg.connect(database.url) as connection:
        down = connection.execute(
            "SELECT started_at, ended_at FROM link_interval WHERE state = 'DOWN' ORDER BY started_at"
        ).fetchall()
        ((longest_way,),) = connection.execute(
            "SELECT max(received_at - ts) FROM telemetry_reading WHERE NOT is_snapshot"
        ).fetchall()
    # An update is older than its arrival, by which the link goes: by as much as any that did arrive.
    slack = timedelta(seconds=0.3) + longest_way
    unexplained = [
        ts for ts in missing.values() if not any(start - slack <= ts <= end + slack for start, end in down)
    ]
    assert not unexplained, f"{len(unexplained)} of {len(missing)}: {unexplained[:3]}, down: {down}"
    # DOWN explains whatever is missing, so there is no more of it than the faults and the ways back allow.
    for (began, ended), following in zip(spells, [*spells[1:], None], strict=True):
        until = datetime.now(UTC) if following is None else following[0] - slack
        down_s = _seconds_of(down, began - slack, until)
        assert down_s <= (ended - began).total_seconds() + BACK_S[feed] + BUSY_S
    assert database.number("SELECT count(*) FROM rejected_reading") == 0


@both_feeds
def test_each_fault_of_the_feed_costs_no_more_than_the_way_back_that_is_documented(
    breakable_database: Any, breakable_server: Any, counting_station: Any, start_daemon: Any, feed: str,
    record_property: Callable[[str, object], None],
) -> None:  # fmt: skip
    database, server = breakable_database, breakable_server
    daemon = start_daemon(server.url, database.url, "--feed", feed)
    counting_station.send_until_heard(database)
    sent = counting_station.sent
    spells: dict[str, datetime] = {}
    with counting_station.sending(100):
        for verb in DOWN_S:
            time.sleep(1.0)
            spells[verb] = datetime.now(UTC)
            if verb == "close":
                server.wait_for(lambda server: server.faults.close())
            else:
                server.call(lambda server: VERBS[verb](server.faults))  # noqa: B023
            if verb == "hold":
                # Less than after which the connection would count as dead.
                time.sleep(NOTICED_S / 2)
            server.call(lambda server: server.faults.resume())
            newest = list(sent)[-1]
            wait_until(lambda: _is_heard(database, newest), NOTICED_S + 0.5 + BUSY_S)  # noqa: B023
    wait_until(lambda: list(sent)[-1] in database.stored())
    assert daemon.terminate() == 0
    with psycopg.connect(database.url) as connection:
        down = connection.execute(
            "SELECT started_at, ended_at FROM link_interval WHERE state = 'DOWN' ORDER BY started_at"
        ).fetchall()
    stored, before = database.stored(), timedelta(seconds=0.5)
    ends = [*[began - before for began in spells.values()][1:], datetime.now(UTC)]
    for (verb, began), until in zip(spells.items(), ends, strict=True):
        down_s = _seconds_of(down, began - before, until)
        missing = [key for key, ts in sent.items() if key not in stored and began - before <= ts < until]
        record_property(f"{verb}_down_s", down_s)
        record_property(f"{verb}_missing", len(missing))
        assert down_s <= DOWN_S[verb][feed] + BUSY_S, verb
        assert len(missing) <= 100 * (down_s + 0.5), verb


def _is_heard(database: Any, newest: tuple[str, str]) -> bool:
    """The link is LIVE, and what was sent after this is stored."""
    live = "SELECT count(*) FROM link_interval WHERE ended_at IS NULL AND state = 'LIVE'"
    return database.number(live) == 1 and any(int(value) > int(newest[1]) for _, value in database.stored())


def _seconds_of(intervals: list[tuple[datetime, datetime]], since: datetime, until: datetime) -> float:
    """How much of the time lies in the intervals."""
    parts = [min(end, until) - max(start, since) for start, end in intervals]
    return sum(max(part.total_seconds(), 0.0) for part in parts)
