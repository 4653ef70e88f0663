"""Processes and their offspring: recognised by pid and start time, ended without leaving any behind."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Sequence

import psutil
from pydantic import BaseModel, ConfigDict

_SAME_START_S = 1.0


class ProcessIdentity(BaseModel):
    """A process that leads its own group; a pid alone may since belong to somebody else."""

    model_config = ConfigDict(frozen=True)

    pid: int
    started_at: float
    """Seconds since the epoch, as the system tells it."""

    @classmethod
    def of(cls, pid: int) -> ProcessIdentity | None:
        """The identity of a process that lives now; None when there is none."""
        try:
            return cls(pid=pid, started_at=psutil.Process(pid).create_time())
        except psutil.NoSuchProcess:
            return None

    def process(self) -> psutil.Process | None:
        """The process, as long as it is still this one and more than a zombie."""
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.started_at) <= _SAME_START_S
            return process if same and process.status() != psutil.STATUS_ZOMBIE else None
        except psutil.NoSuchProcess:
            return None

    def family(self, mark: tuple[str, str]) -> list[psutil.Process]:
        """The process, its descendants, and what is left of its group when it is gone.

        When the leader is gone, only processes that carry the environment variable `mark` count: after a
        restart of the machine a group of strangers may have the same number.
        """
        leader = self.process()
        if leader is not None:
            return [*_descendants(leader), leader]
        return [process for process in _group(self.pid) if _carries(process, mark)]


def _descendants(process: psutil.Process) -> list[psutil.Process]:
    try:
        return list(process.children(recursive=True))
    except psutil.NoSuchProcess:
        return []


def _group(leader_pid: int) -> Iterator[psutil.Process]:
    for pid in psutil.pids():
        try:
            if os.getpgid(pid) == leader_pid:
                yield psutil.Process(pid)
        except (ProcessLookupError, PermissionError, psutil.NoSuchProcess):
            continue


def _carries(process: psutil.Process, mark: tuple[str, str]) -> bool:
    name, value = mark
    try:
        return bool(process.environ().get(name) == value)
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False


class StopManner(BaseModel):
    """How a process wants to be asked to stop."""

    model_config = ConfigDict(frozen=True)

    number: signal.Signals = signal.SIGTERM
    grace_s: float = 10.0
    ask_descendants: bool = True
    """False for PostgreSQL, which tells its own children."""


def end_family(identity: ProcessIdentity, manner: StopManner, mark: tuple[str, str]) -> int:
    """End a process and all that it has started, and return how many that were."""
    family = identity.family(mark)
    asked = family if manner.ask_descendants else family[-1:]
    end(asked, manner.number, manner.grace_s)
    if wait_until_gone(family, 0.0 if manner.ask_descendants else 2.0):
        end(family, signal.SIGKILL, 0.0)
    return len(family)


def end(processes: Sequence[psutil.Process], stop_signal: signal.Signals, grace_s: float) -> None:
    """Ask these processes to stop, and kill those that are still there after the grace (seconds)."""
    for process in processes:
        _send(process, stop_signal)
    for process in wait_until_gone(processes, grace_s):
        _send(process, signal.SIGKILL)
    wait_until_gone(processes, 5.0)


def _send(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return


def wait_until_gone(processes: Sequence[psutil.Process], timeout_s: float) -> list[psutil.Process]:
    """Those that still run after the time (seconds); a zombie is gone, whoever has to reap it."""
    deadline = time.monotonic() + timeout_s
    while alive := [process for process in processes if _runs(process)]:
        if time.monotonic() > deadline:
            return alive
        time.sleep(0.02)
    return []


def _runs(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
