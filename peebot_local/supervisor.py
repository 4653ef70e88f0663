"""Starts children in order, keeps them alive, and stops them in reverse order without leaving a process."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel

from peebot_local.errors import MendableError
from peebot_local.home import Home
from peebot_local.interruption import StopSignals
from peebot_local.log_files import last_lines, rotate
from peebot_local.processes import ProcessIdentity, StopManner, end_family
from peebot_local.restart import RestartPolicy

# Tells the processes of one home from those of another.
MARK = "PEEBOT_RUNNER_HOME"
_POLL_S = 0.1
_LOG_CHECK_S = 60.0


@dataclass(frozen=True)
class Child:
    """A process to keep alive. `may_restart` holds a restart back, as while its database is away."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    user: str | None = None
    stop: StopManner = field(default_factory=StopManner)
    may_restart: Callable[[], bool] = lambda: True
    advice: Callable[[Sequence[str]], str | None] = lambda log_lines: None
    """What to do when it keeps dying, from the last lines of its log."""


@dataclass
class _Running:
    child: Child
    process: subprocess.Popen[bytes]
    identity: ProcessIdentity | None
    policy: RestartPolicy = field(default_factory=RestartPolicy)
    restart_at: float | None = None


class _Record(BaseModel):
    """What the next runner must know to clean up after this one."""

    name: str
    identity: ProcessIdentity
    stop: StopManner


class Supervisor:
    """The children of one runner. All methods belong to the main thread."""

    def __init__(self, home: Home, signals: StopSignals, clock: Callable[[], float] = time.monotonic) -> None:
        self._home = home
        self._signals = signals
        self._clock = clock
        self._running: dict[str, _Running] = {}
        self._logs_checked_at = clock()
        self.restarts: dict[str, int] = {}

    def log(self, name: str) -> Path:
        return self._home.logs / f"{name}.log"

    def end_orphans(self) -> int:
        """End what a runner that was killed has left behind in this home; how many processes that were."""
        if not self._home.children.exists():
            return 0
        records = [_Record.model_validate(record) for record in json.loads(self._home.children.read_text())]
        ended = sum(end_family(record.identity, record.stop, self._mark) for record in reversed(records))
        self._home.children.unlink()
        return ended

    def start(self, child: Child) -> int:
        """Start a child and keep it alive from now on; its pid."""
        if child.name in self._running:
            raise ValueError(f"a child named {child.name} runs already")
        rotate(self.log(child.name))
        with self._signals.deferred():
            process = self._spawn(child)
            self._running[child.name] = _Running(child, process, ProcessIdentity.of(process.pid))
            self._record()
        self.restarts[child.name] = 0
        return process.pid

    def watch(self) -> None:
        """One look at all children: restart the dead ones when their time has come."""
        now = self._clock()
        for running in list(self._running.values()):
            if running.restart_at is None:
                if running.process.poll() is not None:
                    self._bury(running, now)
            elif now >= running.restart_at and running.child.may_restart():
                self._restart(running)
        if now - self._logs_checked_at > _LOG_CHECK_S:
            self._logs_checked_at = now
            for name in self._running:
                rotate(self.log(name))

    def wait_for(self, ready: Callable[[], bool], child: str, timeout_s: float) -> None:
        """Watch until `ready()`; what the child's log says last when that takes longer than the time-out."""
        deadline = self._clock() + timeout_s
        while not ready():
            self.watch()
            if self._clock() > deadline:
                raise self._fault(child, f"is not ready after {timeout_s:.0f} s")
            time.sleep(_POLL_S)

    def stop(self, name: str) -> None:
        """End one child and all that it has started."""
        with self._signals.deferred():
            self._end(self._running.pop(name))
            self._record()

    def stop_all(self) -> None:
        """End all children, the last started first."""
        with self._signals.deferred():
            for name in reversed(list(self._running)):
                self._end(self._running.pop(name))
            self._record()

    @property
    def _mark(self) -> tuple[str, str]:
        return MARK, str(self._home.path)

    def _spawn(self, child: Child) -> subprocess.Popen[bytes]:
        name, value = self._mark
        try:
            with self.log(child.name).open("ab") as log:
                return subprocess.Popen(  # noqa: S603
                    child.command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    user=child.user,
                    cwd="/",
                    env={**os.environ, **child.environment, name: value},
                    start_new_session=True,
                )
        except OSError as error:
            raise MendableError(
                f"{child.name} cannot be started ({child.command[0]}: {error.strerror}); is the disk full?"
            ) from error

    def _bury(self, running: _Running, now: float) -> None:
        # Its own children, such as runs of the code server, must not outlive it.
        self._end(running)
        delay = running.policy.died(now)
        if delay is None:
            raise self._fault(running.child.name, "keeps dying, so everything is stopped")
        running.restart_at = now + delay

    def _restart(self, running: _Running) -> None:
        with self._signals.deferred():
            running.process = self._spawn(running.child)
            running.identity = ProcessIdentity.of(running.process.pid)
            running.restart_at = None
            self._record()
        self.restarts[running.child.name] += 1

    def _end(self, running: _Running) -> None:
        if running.identity is not None:
            end_family(running.identity, running.child.stop, self._mark)
        running.process.wait()

    def _record(self) -> None:
        records = [
            _Record(name=name, identity=running.identity, stop=running.child.stop).model_dump()
            for name, running in self._running.items()
            if running.identity is not None
        ]
        if records:
            fresh = self._home.children.with_suffix(".new")
            fresh.write_text(json.dumps(records))
            fresh.replace(self._home.children)
        else:
            self._home.children.unlink(missing_ok=True)

    def _fault(self, name: str, what: str) -> MendableError:
        log = self.log(name)
        lines = last_lines(log)
        running = self._running.get(name)
        advice = running.child.advice(lines) if running else None
        if advice is None:
            advice = f"mend what its last lines say (the whole log is {log}) and start again"
        return MendableError(f"{name} {what}: {advice}", lines)
