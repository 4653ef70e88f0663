"""What arrives after its hours were computed: the spool of a listener that was cut off for two hours."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg
import pytest

from ingest_daemon.link import LinkState, Transition
from ingest_daemon.reading import Reading
from ingest_daemon.spool import Spool
from ingest_daemon.store import Store as IngestStore
from peebot_dagster.definitions import build_definitions
from peebot_dagster.defs.hourly import JOB_NAME, hourly_schedule
from peebot_dagster.defs.partitions import hour_key
from peebot_dagster.defs.posts import posts_asset
from peebot_dagster.defs.resources import Store
from peebot_dagster.detection import overdue_hours
from peebot_dagster.detectors.urine_tank import UrineTankDetector
from peebot_dagster.minutes import PROCESSOR
from peebot_dagster.store import HOUR, hour_of, stale_hours

MINUTE = timedelta(minutes=1)
LEVEL = "NODE3000005"
NOWHERE = "postgresql://peebot@127.0.0.1:1/peebot"
# Long past for whoever posts, and yet no date that a retention or a first partition could touch.
DAY = hour_of(datetime.now(UTC)) - 12 * HOUR
AWAY, BACK, END = DAY + 150 * MINUTE, DAY + 270 * MINUTE, DAY + 539 * MINUTE
LATER = DAY + 10 * HOUR
TOUCHED = [DAY + 2 * HOUR, DAY + 3 * HOUR, DAY + 4 * HOUR]
DETECTOR = UrineTankDetector()


def reading(at: datetime, level: float, *, is_snapshot: bool = False) -> Reading:
    identity = int((at - DAY).total_seconds() * 100 + level)
    return Reading(LEVEL, at, at, level, f"{level:g}", 24, is_snapshot, identity)


def visit(at: datetime, level: float, percent: int) -> list[Reading]:
    """One percent each six seconds."""
    return [reading(at + i * timedelta(seconds=6), level + i + 1) for i in range(percent)]


# One percent up from the first value of all may be dither: the visit is certain to begin with the second.
FIRST = DAY + 70 * MINUTE + timedelta(seconds=6)
IN_TIME = [
    reading(DAY, 10),
    *visit(DAY + 70 * MINUTE, 10, 3),
    reading(BACK + timedelta(seconds=10), 20, is_snapshot=True),
    *visit(DAY + 380 * MINUTE, 20, 3),
    reading(END - MINUTE, 22),
]
SPOOLED = [*visit(DAY + 190 * MINUTE, 13, 3), *visit(DAY + 245 * MINUTE, 16, 4)]


@pytest.fixture
def dagster_instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as instance:
        yield instance


def ingest(store: IngestStore, readings: list[Reading], link: list[Transition]) -> None:
    store.add_transitions(link)
    store.add(readings)
    assert store.finish(None)


def send_the_spool(folder: Path, database_url: str, connection: psycopg.Connection) -> None:
    """A real daemon on that spool, until all of it is stored."""
    process = subprocess.Popen(
        [
            *(sys.executable, "-P", "-m", "ingest_daemon", "--server", "http://127.0.0.1:1"),
            *("--source", "isslive", "--spool", str(folder)),
        ],
        env={**os.environ, "PEEBOT_DATABASE_URL": database_url},
    )
    try:
        deadline = time.monotonic() + 120
        while list(folder.glob("*.spool")) or not is_merged(connection):
            assert process.poll() is None, "the daemon has ended"
            assert time.monotonic() < deadline, "the spool is not merged"
            time.sleep(0.1)
    finally:
        process.terminate()
        process.wait(timeout=60)


def is_merged(connection: psycopg.Connection) -> bool:
    """Whether all readings are stored, and the link's daemon confirms it as of now."""
    ((stored, heard),) = connection.execute(
        "SELECT (SELECT count(*) FROM telemetry_reading),"
        " (SELECT max(last_seen_at) FROM link_interval WHERE ended_at IS NULL)"
    ).fetchall()
    connection.rollback()
    return stored == len(IN_TIME) + len(SPOOLED) and heard is not None and heard > END


def events(connection: psycopg.Connection) -> list[tuple[str, datetime, str]]:
    rows = connection.execute("SELECT event_type, started_at, state FROM detected_event ORDER BY started_at")
    return rows.fetchall()


def seen(connection: psycopg.Connection, processor: str) -> dict[datetime, int]:
    rows = connection.execute(
        "SELECT hour, revision FROM processor_revision WHERE processor = %s AND hour < %s", (processor, END)
    )
    return dict(rows.fetchall())


def changed(before: Mapping[Any, Any], after: Mapping[Any, Any]) -> list[Any]:
    return sorted(key for key in after.keys() | before.keys() if before.get(key) != after.get(key))


def versions_of_minutes(connection: psycopg.Connection) -> dict[datetime, str]:
    """Which transaction wrote the level's row of each minute."""
    rows = connection.execute(
        "SELECT minute, m.xmin::text FROM telemetry_minute m JOIN telemetry_channel USING (channel_id)"
        " WHERE item_id = %s",
        (LEVEL,),
    )
    return dict(rows.fetchall())


def test_the_spool_of_a_two_hour_outage_recomputes_its_hours_and_no_others_and_corrects_the_events(
    connection: psycopg.Connection,
    database_url: str,
    dagster_instance: dg.DagsterInstance,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PEEBOT_POSTS", "dry_run")
    definitions = build_definitions([DETECTOR])
    resources = {"store": Store(database_url=database_url)}
    catch_up = hourly(definitions, dagster_instance, resources)
    link = [(DAY, LinkState.LIVE), (AWAY, LinkState.DOWN), (BACK, LinkState.LIVE), (END, LinkState.DOWN)]
    ingest(
        IngestStore(database_url, "isslive", 1000),
        IN_TIME,
        [Transition(state, at) for at, state in link],
    )
    # Time has passed, so that all hours are settled.
    connection.execute(
        "UPDATE link_interval SET last_seen_at = %(at)s, ended_at = %(at)s WHERE ended_at IS NULL",
        {"at": END + HOUR},
    )
    connection.commit()
    # The one that was cut off: what it has spooled is all that is known of these two hours.
    ingest(
        IngestStore(NOWHERE, "isslive", 1000, spool=Spool(tmp_path, 1 << 24)),
        SPOOLED,
        [Transition(LinkState.LIVE, AWAY), Transition(LinkState.DOWN, BACK)],
    )

    catch_up(LATER)
    assert events(connection) == [
        ("toilet_visit", FIRST, "closed"),
        ("toilet_visit_masked", BACK + timedelta(seconds=10), "closed"),
        ("toilet_visit", DAY + 380 * MINUTE, "closed"),
    ]
    before = {name: seen(connection, name) for name in (PROCESSOR, DETECTOR.name)}
    minutes = versions_of_minutes(connection)
    assert len(minutes) == 150 + 269
    connection.rollback()

    send_the_spool(tmp_path, database_url, connection)

    assert sorted(h for h in stale_hours(connection, PROCESSOR) if h < END) == TOUCHED
    assert sorted(h for h in overdue_hours(connection, DETECTOR) if h < END) == TOUCHED
    connection.rollback()
    assert catch_up(LATER) == [(hour_key(TOUCHED[0]), hour_key(TOUCHED[-1]))]
    assert events(connection) == [
        ("toilet_visit", FIRST, "closed"),
        ("toilet_visit", DAY + 190 * MINUTE, "closed"),
        ("toilet_visit", DAY + 245 * MINUTE, "closed"),
        ("toilet_visit_masked", BACK + timedelta(seconds=10), "retracted"),
        ("toilet_visit", DAY + 380 * MINUTE, "closed"),
    ]
    for name, seen_before in before.items():
        assert changed(seen_before, seen(connection, name)) == TOUCHED, name
    rewritten = changed(minutes, versions_of_minutes(connection))
    # And the minute of the first reading after it, at whose begin another value held than was known.
    assert rewritten == [AWAY + i * MINUTE for i in range(121)]

    posting = dg.materialize([posts_asset([DETECTOR])], instance=dagster_instance, resources=resources)
    assert posting.success
    decided = connection.execute("SELECT count(*), count(*) FILTER (WHERE state <> 'skipped') FROM post")
    assert decided.fetchall() == [(4, 0)], "each visit has a reason not to be told, and is not"


CatchUp = Callable[[datetime], list[tuple[str, str]]]


def hourly(definitions: dg.Definitions, instance: dg.DagsterInstance, resources: dict[str, Any]) -> CatchUp:
    """A tick of the schedule and the runs that it asks for; their ranges (first and last hour)."""
    schedule = hourly_schedule([DETECTOR], loaded_at=datetime(2025, 1, 1, tzinfo=UTC))
    job = definitions.resolve_job_def(JOB_NAME)

    def tick(now: datetime) -> list[tuple[str, str]]:
        # Closed at the end: it opens the instance once more, and that one would stay Dagster's current one.
        with dg.build_schedule_context(
            instance=instance,
            scheduled_execution_time=now,
            repository_def=definitions.get_repository_def(),
            resources=resources,
        ) as context:
            requests = schedule(context)
        assert isinstance(requests, list)
        ranges = []
        for request in requests:
            result = job.execute_in_process(
                instance=instance, tags=request.tags, asset_selection=request.asset_selection,
                resources={**resources, "io_manager": dg.mem_io_manager},
            )  # fmt: skip
            assert result.success
            first, last = (request.tags[f"dagster/asset_partition_range_{end}"] for end in ("start", "end"))
            ranges.append((first, last))
        return ranges

    return tick
