"""The folder in which one running PeeBot keeps its state, and the lock that only one runner holds."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from pydantic import BaseModel, ConfigDict, ValidationError

from peebot_local.embedded_postgres import EmbeddedPostgres
from peebot_local.errors import MendableError

_TRIES = 6


class RunnerState(BaseModel):
    """What a runner tells other commands about itself."""

    model_config = ConfigDict(frozen=True)

    pid: int
    ui_url: str | None = None
    live_url: str | None = None
    metrics_url: str | None = None
    environment: dict[str, str] = {}
    """What Dagster's processes have in their environment besides the database."""


@dataclass(frozen=True)
class Home:
    """The paths below PEEBOT_HOME."""

    path: Path

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def dagster(self) -> Path:
        return self.path / "dagster"

    @property
    def children(self) -> Path:
        return self.path / "children.json"

    @property
    def postgres(self) -> EmbeddedPostgres:
        return EmbeddedPostgres(self.path / "postgres")

    def spool(self, source: str) -> Path:
        """Where what a feed said waits for the database."""
        return self.path / "spool" / source

    @property
    def _lock(self) -> Path:
        return self.path / "runner.lock"

    @property
    def _state(self) -> Path:
        return self.path / "runner.json"

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Be the one runner of this home; a runner that died, however it died, holds nothing."""
        with self._writable():
            self.logs.mkdir(parents=True, exist_ok=True)
            lock = self._lock.open("a+")
        with lock:
            if not self._take(lock):
                state = self.running()
                raise MendableError(
                    f"PeeBot already runs on {self.path} with pid {state.pid if state else 'unknown'}; "
                    "stop that one, or set PEEBOT_HOME to another folder"
                )
            with self._writable():
                self.announce(RunnerState(pid=os.getpid()))
            try:
                yield
            finally:
                self._state.unlink(missing_ok=True)

    @contextmanager
    def _writable(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise MendableError(
                f"cannot write to {self.path} ({error.strerror}); "
                "mend that, or set PEEBOT_HOME to another folder"
            ) from error

    @staticmethod
    def _take(lock: TextIO) -> bool:
        # `running()` of another command may hold it for a moment.
        for _ in range(_TRIES):
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            except BlockingIOError:
                time.sleep(0.05)
        return False

    def announce(self, state: RunnerState) -> None:
        """Publish the state of the runner that holds this home."""
        fresh = self._state.with_suffix(".new")
        fresh.write_text(state.model_dump_json())
        fresh.replace(self._state)

    def running(self) -> RunnerState | None:
        """The runner that holds this home now, if any."""
        try:
            with self._lock.open("r") as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
                return None
        except FileNotFoundError:
            return None
        except BlockingIOError:
            pass
        try:
            return RunnerState.model_validate(json.loads(self._state.read_text()))
        except (FileNotFoundError, json.JSONDecodeError, ValidationError):
            return None
