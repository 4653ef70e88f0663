"""How long readers wait for a window of one channel."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random

import psycopg

from benchmarks.harness.quantiles import Weighted
from benchmarks.harness.volume import Volume

WINDOW = timedelta(minutes=10)
_SEED = 3
_WINDOW_OF_CHANNEL = "SELECT * FROM telemetry_window(ARRAY[%s::smallint], %s, %s)"


@dataclass(frozen=True)
class WindowTimes:
    """Milliseconds from asking to having all rows, over `count` windows of `rows` rows on average."""

    p50: float
    p99: float
    count: int
    rows: float


def measure_windows(connection: psycopg.Connection, volume: Volume, count: int) -> WindowTimes:
    """Ask for windows of chance channels at chance times in the volume, over one connection."""
    took_ms, rows = [], 0
    for channel, start in _chance_windows(volume, count):
        began = time.perf_counter()
        found = connection.execute(_WINDOW_OF_CHANNEL, [channel, start, start + WINDOW]).fetchall()
        took_ms.append((time.perf_counter() - began) * 1000)
        rows += len(found)
    times = Weighted.of_each(took_ms)
    return WindowTimes(times.quantile(0.5) or 0.0, times.quantile(0.99) or 0.0, count, rows / count)


def _chance_windows(volume: Volume, count: int) -> Iterator[tuple[int, datetime]]:
    random = Random(_SEED)  # noqa: S311  nothing secret
    span = volume.end - volume.start - WINDOW
    for _ in range(count):
        yield random.choice(volume.channels), volume.start + random.random() * span
