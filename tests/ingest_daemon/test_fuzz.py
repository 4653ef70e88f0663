"""Whatever a server sends is a reading, a rejection or the end of a session: no crash, no hang, no hoard.

PEEBOT_TEST_SEED chooses other lines; what fails prints the one that it had.
"""

from __future__ import annotations

import importlib.util
import os
import random
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import psutil
import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest_daemon.feed import FIELDS, FeedEvent, Heard
from ingest_daemon.reading import Reading, Rejection
from ingest_daemon.rejection_limit import PER_MINUTE, RejectionLimit
from ingest_daemon.tlcp_session import TlcpSession
from ingest_daemon.writer import StoredCounts, Writer
from iss_simulator.subscription import Subscription

FUZZ = Path(__file__).parent / "fuzz"
SEED = int(os.environ.get("PEEBOT_TEST_SEED", "20260301"))
FEW, MANY = 20_000, 1_000_000

specification = importlib.util.spec_from_file_location("victim", FUZZ / "victim.py")
assert specification is not None
assert specification.loader is not None
victim = importlib.util.module_from_spec(specification)
specification.loader.exec_module(victim)

LINES = [
    b"U,1,1,1452.0001|18|^4", b"U,1,2,1452.0002|16|24|$|#|16", b"U,1,3,1452.001|5140800000|^4",
    b"U,1,1,||8|^3", b"U,1,2,^6", b"U,1,1,1452.1|a%7Cb%2C|24|%23|%24|%5E", b"SUBOK,1,3,6",
    b"CONF,1,unlimited,filtered", b"OV,1,2,7", b"PROBE", b"SYNC,20", b"LOOP,0", b"CONS,unlimited",
    b"CLIENTIP,127.0.0.1", b"SERVNAME,Lightstreamer HTTP Server", b"REQOK,1", b"REQERR,1,21,Bad item group",
    b"PROG,5", b"CONOK,S1,50000,2000,*", b"END,48,Session too old", b"CONERR,4,Recovery point not kept",
    b"ERROR,65,Bad request", b"EOS,1,1", b"CS,1,1", b"UNSUB,1", b"NOOP,x", b"MSGDONE,*,1,x",
]  # fmt: skip
MORSELS = [
    b"|", b"^", b"#", b"$", b"%", b"%00", b"%FF", b"%ED%A0%80", b",", b"\r\n", b"\n", b"^P[]", b"^T", b"^9",
    b"-", b"\x00", b"\xff", b"\xd9\xa3", b"\xf0\x9f\x9a\xbd", b"NaN", b"1e309", b"9" * 400, b"U,1,1,", b"24",
    b" " * 30, b"x" * 1100, b"%7C" * 400,
]  # fmt: skip
TEXTS = [
    "",
    "0",
    "24",
    "24.0",
    "1452.0",
    "-1",
    "1e5",
    "NaN",
    "inf",
    "٢٤",
    "\x00",
    "\ud800",
    "x" * 1001,
    "17",
    "OPEN",
]


def mutated(randomness: random.Random) -> bytes:
    """A valid line, and a few bytes of it changed; now and then two lines at once."""
    data = bytearray(randomness.choice(LINES))
    for _ in range(randomness.randrange(4)):
        at = randomness.randrange(len(data) + 1)
        match randomness.randrange(6):
            case 0:
                data[at : at + 1] = bytes([randomness.randrange(256)])
            case 1:
                del data[at : at + randomness.randrange(1, 6)]
            case 2:
                data[at:at] = randomness.choice(MORSELS)
            case 3:
                data[at:at] = data[max(0, at - 8) : at]
            case 4:
                data[at:] = b"\r\n" + randomness.choice(LINES)
            case _:
                data[at:] = randomness.choice(LINES)[at:]
    return bytes(data)


def fields(randomness: random.Random) -> tuple[str | None, ...]:
    """An update's fields: texts that have given trouble, and a mutated line cut up anyhow."""
    line = mutated(randomness).decode("utf-8", "surrogateescape")
    texts = [randomness.choice(TEXTS), line[randomness.randrange(len(line) + 1) :], None, "24"]
    values = [randomness.choice(texts) for _ in FIELDS]
    if randomness.randrange(3):
        # An update with a good stamp gets further.
        values[0] = f"{randomness.uniform(1, 9000):.5f}"
    return tuple(values)


def fuzzed(count: int) -> Iterator[Reading | Rejection]:
    """What would be stored of `count` lines and updates: always the same for the same SEED."""
    print(f"PEEBOT_TEST_SEED={SEED}")  # noqa: T201  pytest shows it when the test fails
    randomness = random.Random(SEED)
    target = victim.Victim()
    for number in range(count):
        if number % 4 == 3:
            yield from target.heed(
                fields(randomness), randomness.choice(["A", "TIME_000001", "", "a b"]), False
            )
        else:
            if randomness.randrange(50) == 0:
                target.cut()
            yield from target.hear(mutated(randomness).decode("utf-8", "replace"))
    assert target.readings > count / 20
    assert target.rejections > count / 20
    assert target.sessions > count / 20


def survive(count: int) -> None:
    process = psutil.Process()
    for _ in fuzzed(2000):
        pass
    before = process.memory_info().rss
    checked_s, checked = time.thread_time(), 0
    for checked, _ in enumerate(fuzzed(count)):
        if checked % 1000 == 0:
            assert time.thread_time() - checked_s < 5.0, "it nearly hangs"
            checked_s = time.thread_time()
    assert checked > count / 10
    assert process.memory_info().rss - before < 20_000_000


def test_twenty_thousand_hostile_lines_and_updates_are_survived() -> None:
    survive(FEW)


@pytest.mark.slow
def test_a_million_hostile_lines_and_updates_are_survived() -> None:
    survive(MANY)


@dataclass
class Tally:
    """Of one reason: what has to be in the database, by our own count."""

    rejections: int = 0
    lost: int = 0
    lost_beyond: int = 0

    def add(self, rejection: Rejection) -> None:
        self.rejections += 1
        count = rejection.fields.get("count", 0)
        assert isinstance(count, int)
        self.lost += count
        if self.rejections > PER_MINUTE:
            self.lost_beyond += count

    @property
    def row(self) -> tuple[int, int, int, int]:
        """Rows by themselves, and what the sum of the rest says; all came within one minute."""
        return (
            min(self.rejections, PER_MINUTE),
            max(self.rejections - PER_MINUTE, 0),
            self.lost - self.lost_beyond,
            self.lost_beyond,
        )


@pytest.mark.parametrize("count", [FEW, pytest.param(MANY, marks=pytest.mark.slow)])
def test_postgresql_takes_what_is_made_of_hostile_lines_and_each_rejection_is_a_row_or_in_a_sum(
    connection: psycopg.Connection, count: int
) -> None:
    writer, limit = Writer(connection), RejectionLimit()
    total, heard, admitted = StoredCounts(0, 0, 0), 0, 0
    tallies: defaultdict[str, Tally] = defaultdict(Tally)
    results = fuzzed(count)
    while batch := list(islice(results, 5000)):
        readings = [result for result in batch if isinstance(result, Reading)]
        rejections = [result for result in batch if isinstance(result, Rejection)]
        for rejection in rejections:
            tallies[rejection.reason].add(rejection)
        passed = limit.admit(rejections)
        total += writer.store(readings, passed)
        heard, admitted = heard + len(readings), admitted + len(passed)
    sums = limit.finished(None)
    total += writer.store([], sums)
    assert total.stored + total.duplicates == heard
    assert total.stored > count / 50
    assert total.rejected == admitted + len(sums)
    assert len(sums) > 3
    rows = connection.execute(
        """
        SELECT reason,
            count(*) FILTER (WHERE NOT fields ? 'suppressed'),
            coalesce(sum((fields ->> 'suppressed')::numeric), 0),
            coalesce(sum((fields ->> 'count')::numeric) FILTER (WHERE NOT fields ? 'suppressed'), 0),
            coalesce(sum((fields ->> 'count')::numeric) FILTER (WHERE fields ? 'suppressed'), 0)
        FROM rejected_reading GROUP BY 1
        """
    ).fetchall()
    assert {reason: tuple(found) for reason, *found in rows} == {
        reason: tally.row for reason, tally in tallies.items()
    }


@given(
    st.text()
    | st.from_regex(r"[A-Z]{1,8}(,[ -~]{0,9}){0,5}")
    | st.binary().map(lambda b: b.decode("latin-1"))
)
def test_any_text_at_all_is_survived(frame: str) -> None:
    target = victim.Victim()
    target.hear(frame)
    target.cut()
    target.hear(frame)


values = st.tuples(*[st.none() | st.text(st.sampled_from("#$^|%,5x"), max_size=3)] * len(FIELDS))


fractions = st.floats(0, 1)


@given(
    st.lists(st.tuples(st.sampled_from(["A", "B"]), values)),
    st.lists(st.tuples(fractions, fractions), max_size=5),
)
def test_wherever_the_connection_is_cut_every_update_arrives_once_and_in_order(
    updates: list[tuple[str, tuple[str | None, ...]]], cuts: list[tuple[float, float]]
) -> None:
    server = Subscription(1, ("A", "B"), tuple(range(len(FIELDS))), unfiltered=False)
    log = server.opening_lines()
    for item, new in updates:
        log += server.update_lines(item, new)
    session = TlcpSession("ISSLIVE", [["A", "B"]])
    events: list[FeedEvent] = []
    session.begin_connection()
    session.receive("CONOK,S1,50000,2000,*", victim.NOW, 1.0, events)
    sent = 0
    for how_far, how_far_back in cuts:
        cut_at = sent + round(how_far * (len(log) - sent))
        session.receive("\r\n".join(log[sent:cut_at]), victim.NOW, 1.0, events)
        session.begin_connection()
        asked = int(session.take_requests()[1].parameters[0]["LS_recovery_from"])
        # A server may go back further than it was asked to.
        sent = round(how_far_back * asked)
        session.receive(f"CONOK,S1,50000,2000,*\r\nPROG,{sent}", victim.NOW, 1.0, events)
    session.receive("\r\n".join(log[sent:]), victim.NOW, 1.0, events)
    received = [(event.update.item, tuple(event.update[1:7])) for event in events if isinstance(event, Heard)]
    assert received == updates


@pytest.mark.slow
def test_atheris_finds_no_way_to_break_it() -> None:
    if importlib.util.find_spec("atheris") is None:
        pytest.skip("atheris is not installed (pip install atheris)")
    result = subprocess.run(
        [sys.executable, str(FUZZ / "atheris_target.py"), "-runs=100000", f"-seed={SEED % 2**31}",
         "-timeout=5", "-rss_limit_mb=1024"],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-2000:]
