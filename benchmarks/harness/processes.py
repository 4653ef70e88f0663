"""The processes of a run: the load source, the ingest daemon, and what the daemon costs."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

from benchmarks.harness.load import Load, Send

_START_S = 60.0
_STOP_S = 30.0
_SAMPLE_S = 0.1


class BenchError(Exception):
    """A run that cannot be finished; the message says why, in one line."""


class LoadSource:
    """The Lightstreamer server that sends a load, in its own process."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "benchmarks.harness.load_source"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        self.usage = Usage(self._process.pid)

    def __enter__(self) -> Self:
        self.url: str = self._next(_START_S)["url"]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.usage.close()
        self._process.kill()
        self._process.wait()

    def wait_until_subscribed(self, daemon: IngestDaemon) -> tuple[str, ...]:
        """Wait until a client has subscribed all channels; returns them."""
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline:
            try:
                return tuple(self._next(0.5)["items"])
            except queue.Empty:
                daemon.require_alive()
        raise BenchError(
            f"the daemon has not subscribed all channels within {_START_S:.0f} s; {daemon.tail()}"
        )

    def send(self, load: Load) -> None:
        """Begin to send."""
        self._tell(asdict(load))

    def committed(self, readings: int) -> None:
        """Tell how many updates are committed: that is what makes room for more."""
        self._tell({"committed": readings})

    def wait_until_sent(self, load: Load, daemon: IngestDaemon) -> list[Send]:
        """Wait for the end of the load; returns what was sent when."""
        deadline = time.monotonic() + load.seconds + _START_S
        while time.monotonic() < deadline:
            try:
                end = self._next(0.5)
            except queue.Empty:
                daemon.require_alive()
                continue
            if not end["same_session"]:
                raise BenchError("the client has lost its session: the run measures nothing; try again")
            return [Send(*send) for send in end["sends"]]
        raise BenchError("the load source did not finish; is the machine overloaded?")

    def _next(self, timeout_s: float) -> Any:
        return json.loads(self._lines.get(timeout=timeout_s))

    def _tell(self, line: dict[str, object]) -> None:
        assert self._process.stdin is not None  # noqa: S101  it is a pipe
        self._process.stdin.write(json.dumps(line) + "\n")
        self._process.stdin.flush()

    def _read(self) -> None:
        assert self._process.stdout is not None  # noqa: S101  it is a pipe
        for line in self._process.stdout:
            self._lines.put(line)


class IngestDaemon:
    """`python -m ingest_daemon` as users run it, with a spool; its files go to `folder`."""

    def __init__(self, server: str, feed: str, database_url: str, folder: Path) -> None:
        self._log = folder / "ingest.log"
        command = [sys.executable, "-P", "-m", "ingest_daemon", "--server", server, "--source", "simulator"]
        with self._log.open("wb") as sink:
            self._process = subprocess.Popen(  # noqa: S603
                [*command, "--feed", feed, "--spool", str(folder / "spool")],
                env={**os.environ, "PEEBOT_DATABASE_URL": database_url},
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
            )
        self.usage = Usage(self._process.pid)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.usage.close()
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def require_alive(self) -> None:
        """Raise BenchError if it has ended."""
        if self._process.poll() is not None:
            raise BenchError(f"the daemon ended with code {self._process.returncode}; {self.tail()}")

    def stop(self) -> None:
        """End it the polite way; raises BenchError if it says that something was lost."""
        self._process.terminate()
        code = self._process.wait(timeout=_STOP_S)
        if code != 0:
            raise BenchError(f"the daemon ended with code {code}; {self.tail()}")

    def tail(self) -> str:
        """The last line of its log."""
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()
        return f"its log ends with: {lines[-1]}" if lines else "its log is empty"


class Usage:
    """What a process uses, sampled every 100 ms: CPU seconds (user and system), peak resident bytes."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self.peak_rss_bytes = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, name="usage", daemon=True)
        self._thread.start()

    def cpu_s(self) -> float:
        """CPU seconds so far."""
        times = self._process.cpu_times()
        return float(times.user + times.system)

    def close(self) -> None:
        """Stop sampling."""
        self._stop.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._stop.wait(_SAMPLE_S):
            try:
                self.peak_rss_bytes = max(self.peak_rss_bytes, self._process.memory_info().rss)
            except psutil.NoSuchProcess:
                return
