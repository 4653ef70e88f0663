"""The code server as `peebot up` starts it, with a real instance of Dagster's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import dagster as dg
import psutil
import pytest
from dagster._core.test_utils import poll_for_finished_run
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import GrpcServerTarget

from peebot_local.embedded_postgres import free_port
from peebot_local.services import listens
from tests.peebot_dagster.warm_location import die, tell

ROOT = Path(__file__).parents[2]
LOCATION = "tests.peebot_dagster.warm_location"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(sys.platform != "linux", reason="runs are forked on Linux only"),
]


@contextmanager
def code_server(port: int, told: Path, module: str = LOCATION) -> Iterator[subprocess.Popen[bytes]]:
    command = ["-P", "-m", "peebot_dagster.code_server", "-h", "127.0.0.1", "-p", str(port), "-m", module]
    process = subprocess.Popen(
        [sys.executable, *command],
        env={**os.environ, "PYTHONPATH": str(ROOT), "TOLD": str(told)},
        start_new_session=True,
        stderr=subprocess.PIPE,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 90
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as instance:
        yield instance


def run_of(job: dg.JobDefinition, port: int, instance: dg.DagsterInstance) -> dg.DagsterRun:
    """The run when it is over."""
    target = GrpcServerTarget(host="127.0.0.1", port=port, socket=None, location_name="warm")
    with WorkspaceProcessContext(instance, target) as context:
        request = context.create_request_context()
        known = request.get_code_location("warm").get_repository("__repository__").get_full_job(job.name)
        run = instance.create_run_for_job(
            job,
            remote_job_origin=known.get_remote_origin(),
            job_code_origin=known.get_python_origin(),
        )
        instance.launch_run(run.run_id, request)
        return poll_for_finished_run(instance, run.run_id, timeout=60)


def test_a_run_is_forked_from_a_process_that_has_imported_everything_and_its_death_is_noticed(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    port, told = free_port(), tmp_path / "told.json"
    with code_server(port, told) as process:
        _wait_for(lambda: listens(port)())

        assert run_of(tell, port, instance).status == dg.DagsterRunStatus.SUCCESS
        where_from = json.loads(told.read_text())
        assert where_from["preloaded"]
        assert where_from["threads_of_parent"] == 1
        assert where_from["parent"] in {child.pid for child in psutil.Process(process.pid).children()}

        assert run_of(die, port, instance).status == dg.DagsterRunStatus.FAILURE


@pytest.mark.parametrize("end", ["it is asked to", "the process that forks is killed"])
def test_all_its_processes_end_together(end: str, tmp_path: Path) -> None:
    port = free_port()
    with code_server(port, tmp_path / "told.json") as process:
        _wait_for(lambda: listens(port)())
        family = psutil.Process(process.pid).children(recursive=True)
        if end == "it is asked to":
            process.terminate()
            assert process.wait(timeout=30) == 0
        else:
            forks = next(child for child in family if child.children())
            forks.kill()
            assert process.wait(timeout=30) != 0
        assert psutil.wait_procs(family, timeout=30)[1] == []


def test_who_stops_each_of_its_processes_and_again_finds_no_fault_in_its_log(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    port = free_port()
    with code_server(port, tmp_path / "told.json") as process:
        _wait_for(lambda: listens(port)())
        assert run_of(tell, port, instance).status == dg.DagsterRunStatus.SUCCESS
        descendants = psutil.Process(process.pid).children(recursive=True)

        process.terminate()
        while process.poll() is None:
            for each in descendants:
                with suppress(psutil.NoSuchProcess):
                    each.terminate()

        assert process.stderr is not None
        told = process.stderr.read().decode()
        assert process.wait(timeout=30) == 0
        assert "Traceback" not in told
        assert "leaked" not in told


def test_definitions_that_cannot_be_loaded_are_told_in_full(tmp_path: Path) -> None:
    with code_server(free_port(), tmp_path / "told.json", "tests.peebot_dagster.no_such_location") as process:
        assert process.stderr is not None
        told = process.stderr.read().decode()
        assert process.wait() != 0
    assert "No module named 'tests.peebot_dagster.no_such_location'" in told
