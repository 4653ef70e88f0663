"""A supervisor over a fresh home, which leaves no process behind whatever the test does."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from peebot_local.home import Home
from peebot_local.interruption import StopSignals
from peebot_local.supervisor import Child, Supervisor

Wait = Callable[[Callable[[], bool]], None]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    home.logs.mkdir(parents=True)
    return home


@pytest.fixture
def supervisor(home: Home) -> Iterator[Supervisor]:
    supervisor = Supervisor(home, StopSignals())
    yield supervisor
    supervisor.stop_all()


@pytest.fixture
def wait_until() -> Wait:
    def wait(condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < deadline, "the awaited condition did not come true"
            time.sleep(0.02)

    return wait


@pytest.fixture
def python_child() -> Callable[..., Child]:
    """A child that runs a piece of Python."""

    def make(name: str, program: str, **more: object) -> Child:
        return Child(name=name, command=(sys.executable, "-c", program), **more)  # type: ignore[arg-type]

    return make
