"""Dagster's runs on warm workers: a real Redis, a real worker, everything started by `peebot up --celery`."""

from __future__ import annotations

import json
import os
import shutil
import urllib.request
from typing import TYPE_CHECKING, Any

import psutil
import pytest
import yaml

from peebot_local.embedded_postgres import free_port

if TYPE_CHECKING:
    from tests.system.conftest import Peebot

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

LAUNCH = """
mutation { launchRun(executionParams: {mode: "default", selector: {
    repositoryLocationName: "peebot", repositoryName: "__repository__", jobName: "publish_posts"}
}) { __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }
"""
RUN = """
query run($id: ID!) { runOrError(runId: $id) { ... on Run { status } }
    logsForRun(runId: $id) { ... on EventConnection { events { ... on MessageEvent { message } } } } }
"""


def ask_dagster(ui_url: str, query: str, **variables: str) -> Any:
    body = json.dumps({"query": query, "variables": variables}).encode()
    request = urllib.request.Request(  # noqa: S310
        f"{ui_url}/graphql", body, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310
        return json.load(response)["data"]


def test_a_run_of_up_with_celery_is_executed_by_a_warm_worker_and_nothing_is_left_afterwards(
    peebot: Peebot,
) -> None:
    if shutil.which("redis-server") is None:
        assert "PEEBOT_REQUIRE_REDIS" not in os.environ, "redis-server is not installed"
        pytest.skip("redis-server is not installed")
    peebot.environment["PEEBOT_FEED_URL"] = f"http://127.0.0.1:{free_port()}"
    peebot.environment["PEEBOT_CELERY_WORKERS"] = "3"
    peebot.start("up", "--celery")
    ui_url = peebot.wait_for_line("The Dagster UI: ", 240).rpartition(" ")[2]

    launched = ask_dagster(ui_url, LAUNCH)["launchRun"]
    assert launched["__typename"] == "LaunchRunSuccess", launched
    run_id = launched["run"]["runId"]
    peebot.wait_for(
        lambda: ask_dagster(ui_url, RUN, id=run_id)["runOrError"]["status"] in ("SUCCESS", "FAILURE"), 240
    )

    run = ask_dagster(ui_url, RUN, id=run_id)
    told = [event.get("message", "") for event in run["logsForRun"]["events"]]
    assert run["runOrError"]["status"] == "SUCCESS", told
    assert any("[LeasedRunLauncher]" in message for message in told)
    command = psutil.Process(peebot.child("celery-worker")).cmdline()
    assert command[command.index("--concurrency") + 1] == "3"
    queue = yaml.safe_load((peebot.home / "dagster" / "dagster.yaml").read_text())["concurrency"]["runs"]
    assert queue["max_concurrent_runs"] == 5
    # It has to stop by itself: the broker is no longer needed once the worker is gone.
    assert peebot.process is not None
    peebot.process.terminate()
    peebot.process.wait(timeout=180)
    assert peebot.processes() == []
