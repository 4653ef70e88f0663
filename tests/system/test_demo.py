from __future__ import annotations

import json
import os
import signal
import time
import urllib.request
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from peebot_local.home import Home

if TYPE_CHECKING:
    from tests.system.conftest import Peebot

pytestmark = [pytest.mark.slow, pytest.mark.timeout(420)]

LINEAGE = "{ assetNodes { assetKey { path } dependencyKeys { path } } }"
BACKFILLS = "{ partitionBackfillsOrError { ... on PartitionBackfills { results { status numPartitions } } } }"


def ask_dagster(ui_url: str, query: str, variables: dict[str, Any] | None = None) -> Any:
    request = urllib.request.Request(  # noqa: S310
        f"{ui_url}/graphql",
        json.dumps({"query": query, "variables": variables or {}}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310
        return json.load(response)["data"]


def test_within_two_minutes_of_its_address_the_demo_shows_a_live_visit_and_its_joke(peebot: Peebot) -> None:
    peebot.start("demo")
    ui_url = peebot.wait_for_line("The Dagster UI: ", 180).rpartition(" ")[2]
    shown_at, shown = datetime.now(UTC), time.monotonic()

    post = peebot.wait_for_line("would have been posted: ", 120)
    assert time.monotonic() - shown < 120
    status = peebot.status()
    assert status["feed"] == "LIVE"
    assert status["ui_url"] == ui_url
    assert status["posts"] >= 1
    assert status["readings"] > 50_000
    assert status["newest_age_s"] < 10

    database_url = Home(peebot.home / "demo").postgres.url("peebot")
    with psycopg.connect(database_url) as connection:
        ((text, event_type, started_at),) = connection.execute(
            "SELECT text, event_type, started_at FROM post JOIN detected_event USING (event_id)"
            " WHERE post.state = 'dry_run'"
        ).fetchall()
    assert event_type == "toilet_visit"
    assert started_at > shown_at.replace(microsecond=0)
    assert " ".join(text.split()) in post

    lineage = {
        node["assetKey"]["path"][0]: {key["path"][0] for key in node["dependencyKeys"]}
        for node in ask_dagster(ui_url, LINEAGE)["assetNodes"]
    }
    assert lineage["telemetry_minute"] == {"telemetry_reading"}
    assert "telemetry_minute" in lineage["urine_tank_events"]
    assert lineage["posts"] == {"urine_tank_events"}

    def backfill_of_two_days_has_succeeded() -> bool:
        backfills = ask_dagster(ui_url, BACKFILLS)["partitionBackfillsOrError"]["results"]
        return backfills == [{"status": "COMPLETED_SUCCESS", "numPartitions": 48}]

    peebot.wait_for(backfill_of_two_days_has_succeeded, max(1.0, shown + 120 - time.monotonic()))

    second = peebot.run("demo")
    assert second.returncode == 1
    assert peebot.process is not None
    assert f"with pid {peebot.process.pid};" in second.stderr
    assert second.stderr.count("\n") == 1

    assert peebot.stop(signal.SIGINT) == 0
    assert peebot.processes() == []


def test_a_demo_whose_runner_was_killed_starts_again_and_shows_another_visit(peebot: Peebot) -> None:
    peebot.start("demo")
    peebot.wait_for_line("The Dagster UI: ", 180)
    # The daemon starts last, when the address is out and the backfill asked for.
    peebot.wait_for(
        lambda: "dagster-daemon" in {record["name"] for record in peebot.children(peebot.home / "demo")}, 30
    )
    assert peebot.process is not None
    os.kill(peebot.process.pid, signal.SIGKILL)
    peebot.process.wait()
    assert len(peebot.processes()) >= 6

    peebot.lines.clear()
    peebot.start("demo")
    peebot.wait_for_line("processes of a PeeBot that was killed", 60)
    peebot.wait_for_line("The Dagster UI: ", 60)
    peebot.wait_for_line("would have been posted: ", 120)
    assert peebot.stop(signal.SIGTERM) == 0
    assert peebot.processes() == []
