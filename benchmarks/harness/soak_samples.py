"""Memory by process and disk by folder of a running PeeBot, every few seconds."""

from __future__ import annotations

import os
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil

from benchmarks.harness.family_cost import cost
from benchmarks.harness.own_stack import OwnStack
from benchmarks.harness.slopes import Sample
from benchmarks.harness.soak_faults import children
from peebot_local.errors import MendableError

FOLDERS: Mapping[str, str] = {
    "postgres": "postgres",
    "logs": "logs",
    "spool": "spool",
    "dagster's home": "dagster",
}


class Samples:
    """Takes samples in a thread of its own: `memory` and `disk` are MB over seconds since 1970."""

    def __init__(self, stack: OwnStack, simulator: psutil.Process, every_s: float) -> None:
        self.memory: dict[str, list[Sample]] = defaultdict(list)
        self.disk: dict[str, list[Sample]] = defaultdict(list)
        self._stack = stack
        self._simulator = simulator
        self._every_s = every_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="samples", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Take no more. MendableError when it had ended by itself: its last words are on stderr."""
        ended_early = not self._thread.is_alive()
        self._stop.set()
        self._thread.join()
        if ended_early:
            raise MendableError("the memory could not be looked at to the end; stderr says why")

    def _run(self) -> None:
        while not self._stop.wait(self._every_s):
            now = time.time()
            for name, pid in children(self._stack).items():
                self._take(self.memory[name], now, pid, lambda pid=pid: cost(psutil.Process(pid)).pss)  # type: ignore[misc]
            self._take(self.memory["runner"], now, 0, lambda: cost(self._stack.runner, alone=True).pss)
            self._take(self.memory["simulator"], now, 0, lambda: cost(self._simulator).pss)
            for name, folder in FOLDERS.items():
                self.disk[name].append(Sample(now, 0, bytes_below(self._stack.home.path / folder) / 1e6))

    @staticmethod
    def _take(samples: list[Sample], now: float, life: int, look: Callable[[], int]) -> None:
        try:
            pss = look()
        except psutil.NoSuchProcess:
            return
        # Between its death and its burial a process has none.
        if pss:
            samples.append(Sample(now, life, pss / 1e6))


def bytes_below(folder: Path) -> int:
    """What the files below a folder take on disk; those that vanish meanwhile count nothing."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(place, name)).st_blocks * 512  # noqa: PTH118  many files
            except FileNotFoundError:
                continue
    return total
