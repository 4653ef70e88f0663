"""Dagster as users run it (code server, webserver, daemon), with the assets of the history alone."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from peebot_local.database import PROJECT
from peebot_local.embedded_postgres import free_port
from peebot_local.errors import MendableError
from peebot_local.services import CODE_LOCATION, answers, listens

_DEFINITIONS = "benchmarks.harness.history_definitions"
_SCRIPTS = Path(sys.executable).parent
_START_S = 180.0
_STOP_S = 30.0


@contextmanager
def dagster_stack(environment: Mapping[str, str], folder: Path) -> Iterator[str]:
    """The URL of its UI; the processes write their logs into `folder` and are gone after the block."""
    code_port, ui_port = free_port(), free_port()
    ui_url = f"http://127.0.0.1:{ui_port}"
    workspace = str(PROJECT / "workspace.yaml")
    full = {
        **os.environ,
        **environment,
        "PEEBOT_CODE_SERVER_PORT": str(code_port),
        "PYTHONPATH": str(PROJECT),
    }
    commands = {
        "code-server": [
            *("dagster", "api", "grpc", "-h", "127.0.0.1", "-p", str(code_port)),
            *("-m", _DEFINITIONS, "--location-name", CODE_LOCATION),
        ],
        "webserver": ["dagster-webserver", "-h", "127.0.0.1", "-p", str(ui_port), "-w", workspace],
        "daemon": ["dagster-daemon", "run", "-w", workspace],
    }
    ready = {"code-server": listens(code_port), "webserver": answers(f"{ui_url}/server_info")}
    with ExitStack() as stack:
        for name, command in commands.items():
            log = folder / f"{name}.log"
            process = stack.enter_context(_running(command, full, log))
            if name in ready:
                _wait_for(ready[name], process, name, log)
        yield ui_url


@contextmanager
def _running(command: list[str], environment: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as sink:
        process = subprocess.Popen(  # noqa: S603
            [str(_SCRIPTS / command[0]), *command[1:]], env=environment, stdout=sink, stderr=sink, cwd="/"
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for(ready: Callable[[], bool], process: subprocess.Popen[bytes], name: str, log: Path) -> None:
    deadline = time.monotonic() + _START_S
    while not ready():
        if process.poll() is not None or time.monotonic() > deadline:
            tail = log.read_text(errors="replace").strip().splitlines()[-3:]
            raise MendableError(f"Dagster's {name} does not start: {' '.join(tail)}")
        time.sleep(0.1)  # a poll: a process that gets ready tells nobody
