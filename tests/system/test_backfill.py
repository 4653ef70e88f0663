"""`peebot backfill` on a whole PeeBot: killed, interrupted, beside another; it ends, and posts nothing."""

from __future__ import annotations

import os
import signal
import subprocess
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from iss_simulator.station import Station
from peebot_local.backfill import backfilled_assets
from peebot_local.home import Home
from peebot_local.station_history import load_history
from tests.system.conftest import COMMAND, Peebot
from tests.system.test_demo import ask_dagster

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

BEGIN = datetime(2025, 3, 1, tzinfo=UTC)
END = BEGIN + timedelta(days=2)
SPAN = ("--from", BEGIN.isoformat(), "--to", END.isoformat())
HOURS = 48
BACKFILLS = """{
    partitionBackfillsOrError { ... on PartitionBackfills {
        results {
            id status
            runs(limit: 100) { id status stats { ... on RunStatsSnapshot { materializations } } }
        }
    } }
}"""


def backfills(ui_url: str) -> list[dict[str, Any]]:
    """Newest first."""
    found: list[dict[str, Any]] = ask_dagster(ui_url, BACKFILLS)["partitionBackfillsOrError"]["results"]
    return found


def computed(database_url: str) -> tuple[list[Any], list[Any]]:
    with psycopg.connect(database_url) as connection:
        minutes = connection.execute("SELECT * FROM telemetry_minute ORDER BY channel_id, minute").fetchall()
        events = connection.execute(
            "SELECT event_id, event_type, started_at, ended_at, state, payload FROM detected_event"
            " WHERE state <> 'retracted' AND started_at < %s ORDER BY event_id",
            (END - timedelta(hours=3),),
        ).fetchall()
    return minutes, events


def begin_backfill(peebot: Peebot) -> subprocess.Popen[str]:
    """Start the command; it has launched its backfill, or found it, when this returns."""
    process = subprocess.Popen(
        [*COMMAND, "backfill", *SPAN], text=True, stdout=subprocess.PIPE, env=peebot.environment
    )
    assert process.stdout is not None
    assert "/runs/b/" in process.stdout.readline()
    return process


def test_a_backfill_goes_on_whoever_is_killed_and_nothing_is_computed_twice_or_posted(peebot: Peebot) -> None:
    peebot.environment |= {
        "PEEBOT_FEED_URL": "http://127.0.0.1:1",
        "PEEBOT_PARTITIONS_START": f"{BEGIN:%Y-%m-%d-%H}:00",
    }
    peebot.start("up")
    ui_url = peebot.wait_for_line("The Dagster UI: ", 240).rpartition(" ")[2]
    database_url = Home(peebot.home).postgres.url("peebot")
    with psycopg.connect(database_url, autocommit=True) as connection:
        load_history(connection, Station(7, BEGIN), BEGIN, END)
    peebot.wait_for(
        lambda: "dagster-daemon" in {record["name"] for record in peebot.children(peebot.home)}, 60
    )

    first = begin_backfill(peebot)
    first.kill()
    first.wait()
    interrupted = begin_backfill(peebot)
    interrupted.send_signal(signal.SIGINT)
    said, _ = interrupted.communicate(timeout=60)
    assert "the same command follows it again" in said
    assert interrupted.returncode == 130
    os.kill(peebot.child("dagster-daemon"), signal.SIGKILL)

    result = peebot.run("backfill", *SPAN)

    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("In progress: the backfill of ")
    (backfill,) = backfills(ui_url)
    assert backfill["status"] == "COMPLETED_SUCCESS"
    assert [run["status"] for run in backfill["runs"]] == ["SUCCESS", "SUCCESS"], "a run for each day"
    counts = [run["stats"]["materializations"] for run in backfill["runs"]]
    assert sum(counts) == HOURS * len(backfilled_assets()), "each partition once"
    minutes, events = computed(database_url)
    assert len(events) > 10

    # Two at once, as when somebody starts one in the UI too.
    other = begin_backfill(peebot)
    selection = ", ".join(
        f'{{assetKey: {{path: ["{asset}"]}}, partitions: '
        f'{{range: {{start: "{BEGIN:%Y-%m-%d-%H}:00", end: "{END - timedelta(hours=1):%Y-%m-%d-%H}:00"}}}}}}'
        for asset in backfilled_assets()
    )
    launched = ask_dagster(
        ui_url,
        f"mutation {{ launchPartitionBackfill(backfillParams: {{partitionsByAssets: [{selection}]}})"
        " { __typename } }",
    )
    assert launched["launchPartitionBackfill"]["__typename"] == "LaunchBackfillSuccess"
    assert other.wait(timeout=600) == 0
    peebot.wait_for(
        lambda: {backfill["status"] for backfill in backfills(ui_url)} == {"COMPLETED_SUCCESS"}, 600
    )
    assert len(backfills(ui_url)) == 3
    assert computed(database_url) == (minutes, events)

    with psycopg.connect(database_url) as connection:
        posts = connection.execute("SELECT state, reason FROM post WHERE state <> 'skipped'").fetchall()
    assert posts == []
    assert peebot.stop(signal.SIGTERM) == 0
