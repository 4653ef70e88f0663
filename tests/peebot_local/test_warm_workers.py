from __future__ import annotations

import os
import shutil
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from celery import Celery

from peebot_dagster.leased_runs import LeasedRunLauncher
from peebot_local.database import prepare_dagster_home
from peebot_local.errors import MendableError
from peebot_local.home import Home
from peebot_local.services import celery_worker
from peebot_local.supervisor import Child
from peebot_local.warm_workers import BROKER, WORKERS, start_broker, workers_of


def settings(dagster_home: Path) -> Any:
    return yaml.safe_load((dagster_home / "dagster.yaml").read_text())


def test_the_runs_are_given_to_celery_only_when_asked_for(tmp_path: Path) -> None:
    prepare_dagster_home(tmp_path, workers=2)
    with_celery = settings(tmp_path)
    launcher = with_celery["run_launcher"]
    assert (launcher["module"], launcher["class"]) == (
        LeasedRunLauncher.__module__,
        LeasedRunLauncher.__name__,
    )

    prepare_dagster_home(tmp_path)

    without = settings(tmp_path)
    assert "run_launcher" not in without
    replaced = {name for name, value in with_celery.items() if without.get(name) != value}
    assert replaced == {"run_launcher", "run_monitoring", "run_retries", "concurrency"}
    assert without.keys() < with_celery.keys()


def test_without_a_broker_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(BROKER, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    unused: Any = None

    with pytest.raises(MendableError, match="apt install redis-server"):
        start_broker(Home(tmp_path), unused)


def test_the_broker_is_a_socket_of_this_user_with_nothing_on_the_network(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if shutil.which("redis-server") is None:
        assert "PEEBOT_REQUIRE_REDIS" not in os.environ, "redis-server is not installed"
        pytest.skip("redis-server is not installed")
    monkeypatch.delenv(BROKER, raising=False)
    # A short path, as a socket needs, with what a URL does not take as it is.
    with tempfile.TemporaryDirectory(prefix="peebot ü%3f-", dir="/tmp") as folder:
        started: list[subprocess.Popen[bytes]] = []

        class Supervising:
            def start(self, child: Child) -> None:
                log = (Path(folder) / "log").open("wb")
                started.append(subprocess.Popen(child.command, stdout=log, stderr=log))

            def wait_for(self, is_ready: Callable[[], bool], name: str, timeout_s: float) -> None:
                deadline = time.monotonic() + timeout_s
                while not is_ready():
                    assert time.monotonic() < deadline
                    time.sleep(0.02)

        supervisor: Any = Supervising()
        try:
            url = start_broker(Home(Path(folder)), supervisor)[BROKER]
            socket_path = Path(folder) / "redis.sock"
            assert stat.S_IMODE(socket_path.stat().st_mode) == 0o700
            app = Celery(broker=url, backend=url)
            with app.connection_for_write() as connection, connection.SimpleQueue("dagster") as queue:
                queue.put("run")
                assert queue.get(timeout=30).payload == "run"
            app.backend.set("key", "value")
            assert app.backend.get("key") == b"value"
            assert app.backend.client.config_get("port") == {"port": "0"}
        finally:
            for process in started:
                process.terminate()
                process.wait(timeout=60)


def test_a_home_that_is_too_deep_for_a_socket_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv(BROKER, raising=False)
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    unused: Any = None
    with pytest.raises(MendableError, match="too long for the socket"):
        start_broker(Home(tmp_path / ("x" * 100)), unused)


def test_a_broker_of_the_environment_is_used_and_told_nowhere(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(BROKER, "redis://:secret@broker/0")
    unused: Any = None

    assert start_broker(Home(tmp_path), unused) == {}


def test_the_queue_fills_the_workers_of_all_hosts_and_leaves_one_to_posts(tmp_path: Path) -> None:
    prepare_dagster_home(tmp_path, workers_of({WORKERS: "7"}))
    runs = settings(tmp_path)["concurrency"]["runs"]
    assert (runs["max_concurrent_runs"], runs["tag_concurrency_limits"][0]["limit"]) == (9, 6)
    prepare_dagster_home(tmp_path, workers_of({}))
    runs = settings(tmp_path)["concurrency"]["runs"]
    assert (runs["max_concurrent_runs"], runs["tag_concurrency_limits"][0]["limit"]) == (4, 1)
    with pytest.raises(MendableError, match="PEEBOT_CELERY_WORKERS is not usable"):
        workers_of({WORKERS: "many"})


def test_a_worker_executes_as_many_runs_at_once_as_it_is_told() -> None:
    command = celery_worker("postgresql://db/peebot", {}, 3).command
    assert command[command.index("--concurrency") + 1] == "3"
