"""A whole PeeBot of the benchmark's own, as `peebot up` starts it, in a scratch home."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.harness.report import progress
from peebot_local.embedded_postgres import free_port
from peebot_local.errors import MendableError
from peebot_local.home import Home
from peebot_local.services import DATABASE
from peebot_local.settings import Settings

_START_S = 240.0
_STOP_S = 120.0
_OWN = ("PEEBOT_DATABASE_URL", "PEEBOT_CODE_SERVER_PORT", "PEEBOT_METRICS_PORT", "PEEBOT_CHANNELS")


@dataclass(frozen=True)
class OwnStack:
    """A running PeeBot: its home, and the process of its runner."""

    home: Home
    runner: psutil.Process

    @property
    def database_url(self) -> str:
        return self.home.postgres.url(DATABASE)

    @property
    def dagster_database_url(self) -> str:
        return self.home.postgres.url(f"{DATABASE}_dagster")

    def require_alive(self) -> None:
        """MendableError when it has ended, with what it said last."""
        if not self.runner.is_running() or self.runner.status() == psutil.STATUS_ZOMBIE:
            raise MendableError("the PeeBot that is measured has ended", _last_lines(self.home))

    def wait_for(self, ready: Callable[[], bool], what: str, timeout_s: float = _START_S) -> None:
        """Wait until `ready()`; MendableError when that takes too long."""
        deadline = time.monotonic() + timeout_s
        while not ready():
            self.require_alive()
            if time.monotonic() > deadline:
                raise MendableError(f"{what} within {timeout_s:.0f} s: no", _last_lines(self.home))
            time.sleep(0.1)  # a poll, which also sees a PeeBot that has ended


@contextmanager
def own_stack(
    settings: Settings, feed_url: str, environment: Mapping[str, str], options: Sequence[str] = ()
) -> Iterator[OwnStack]:
    """`peebot up` on this feed, with its own database, until the end of the block; then nothing is left."""
    settings.home.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="bench-", dir=settings.home))
    variables = {
        **{name: value for name, value in os.environ.items() if name not in _OWN},
        "PEEBOT_HOME": str(folder),
        "PEEBOT_FEED_URL": feed_url,
        "PEEBOT_UI_PORT": str(free_port()),
        "PEEBOT_LIVE_PORT": str(free_port()),
        **environment,
    }
    home = Home(folder)
    try:
        with (folder / "up.log").open("wb") as log:
            process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-P", "-m", "peebot_local", "up", *options],
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            stack = OwnStack(home, psutil.Process(process.pid))
            progress("starting a PeeBot …")
            stack.wait_for(lambda: _is_up(home), "its UI answers")
            yield stack
        finally:
            began = time.monotonic()
            process.send_signal(signal.SIGINT)
            process.wait(timeout=_STOP_S)
            progress(f"it stopped within {time.monotonic() - began:.1f} s")
    finally:
        shutil.rmtree(folder)


def _is_up(home: Home) -> bool:
    state = home.running()
    return state is not None and state.ui_url is not None


def _last_lines(home: Home) -> tuple[str, ...]:
    log = home.path / "up.log"
    return tuple(log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-8:])
