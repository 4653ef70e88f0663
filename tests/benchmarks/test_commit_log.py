"""When a row became visible to others, as the log of looks tells."""

from __future__ import annotations

import threading
import time

import psycopg

from benchmarks.harness.commit_log import CommitLog, Look, commit_times
from benchmarks.harness.quantiles import Weighted
from ingest_daemon.writer import Writer
from tests.benchmarks.sent_readings import SENDS, readings


def test_a_commit_is_dated_by_the_first_look_that_sees_it() -> None:
    looks = (
        Look(1.0, 100, frozenset(), 0),
        Look(2.0, 103, frozenset({101}), 5),
        Look(3.0, 103, frozenset(), 9),
    )
    assert commit_times([99, 100, 101, 102], looks) == {99: 1.0, 100: 2.0, 101: 3.0, 102: 2.0}


def test_the_writer_s_commit_is_seen_between_its_call_and_a_moment_after_its_return(
    database_url: str,
) -> None:
    seen = threading.Event()
    with CommitLog(database_url, lambda _: seen.set()) as log, psycopg.connect(database_url) as connection:
        began_ms = time.time() * 1000
        Writer(connection).store(readings(SENDS), [])
        connection.commit()
        assert seen.wait(10)
        assert log.readings == 1000
        looks = log.end()
        rows = connection.execute("SELECT DISTINCT xmin::text::bigint FROM telemetry_reading").fetchall()
    (moment,) = commit_times([row[0] for row in rows], looks).values()
    assert began_ms < moment < time.time() * 1000
    assert moment == looks[0].seen_ms


def test_quantiles_count_each_value_as_often_as_it_was_measured() -> None:
    delays = Weighted.of([(30.0, 1), (10.0, 98), (20.0, 1)])
    assert [delays.quantile(share) for share in (0.5, 0.98, 0.99, 1.0)] == [10.0, 10.0, 20.0, 30.0]
    assert Weighted.of([]).quantile(0.5) is None
