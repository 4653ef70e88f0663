"""One run of the whole path: load source → feed → parse → COPY → committed row, each in its own process."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psycopg

from benchmarks.harness.commit_log import CommitLog, Look
from benchmarks.harness.load import Load, Send
from benchmarks.harness.processes import IngestDaemon, LoadSource
from benchmarks.harness.scratch_store import scratch_database
from benchmarks.harness.verification import Comparison, compare, delays_ms

_STUCK_S = 15.0
"""Seconds without a commit after which the rest counts as lost."""


@dataclass(frozen=True)
class RunResult:
    """What one run has shown. The rate is of rows committed while the load was on. CPU (per row)
    and memory (peak) are those of the daemon's process."""

    load: Load
    comparison: Comparison
    rate_per_s: float
    p50_ms: float | None
    p99_ms: float | None
    max_ms: float | None
    cpu_us_per_msg: float
    source_cpu_us_per_msg: float
    peak_rss_mb: float
    drain_s: float
    """Seconds from the last update sent to the last row committed."""

    @property
    def is_right(self) -> bool:
        """Whether exactly what was sent is stored."""
        return self.comparison.is_same and not self.comparison.lost and not self.comparison.doubled


def run_load(server_url: str, feed: str, load: Load) -> RunResult:
    """Run a daemon with this feed on a fresh database under this load, until all is stored."""
    with (
        scratch_database(server_url) as url,
        tempfile.TemporaryDirectory(prefix="peebot-bench-") as folder,
        LoadSource() as source,
        IngestDaemon(source.url, feed, url, Path(folder)) as daemon,
    ):
        items = source.wait_until_subscribed(daemon)
        with CommitLog(url, source.committed) as log:
            cpu_s, source_cpu_s = -daemon.usage.cpu_s(), -source.usage.cpu_s()
            source.send(load)
            sends = source.wait_until_sent(load, daemon)
            sent_s = time.time()
            _wait_until_stored(log, sum(send.count for send in sends), daemon)
            cpu_s += daemon.usage.cpu_s()
            source_cpu_s += source.usage.cpu_s()
            looks = log.end()
        daemon.stop()
        with psycopg.connect(url) as connection:
            comparison = compare(connection, sends, items)
            delays = delays_ms(connection, looks)
        # What the daemon has stored after that, on its way out, is in the comparison.
        committed = max(looks[-1].readings, 1)
        return RunResult(
            load=load,
            comparison=comparison,
            rate_per_s=_rate_per_s(sends, looks),
            p50_ms=delays.quantile(0.5),
            p99_ms=delays.quantile(0.99),
            max_ms=delays.quantile(1.0),
            cpu_us_per_msg=cpu_s / committed * 1e6,
            source_cpu_us_per_msg=source_cpu_s / committed * 1e6,
            peak_rss_mb=daemon.usage.peak_rss_bytes / 1e6,
            drain_s=max(_last_commit_s(looks) - sent_s, 0.0),
        )


def _wait_until_stored(log: CommitLog, sent: int, daemon: IngestDaemon) -> None:
    known, since_s = -1, time.monotonic()
    while log.readings < sent and time.monotonic() - since_s < _STUCK_S:
        if log.readings != known:
            known, since_s = log.readings, time.monotonic()
        daemon.require_alive()
        time.sleep(0.02)  # a poll, which also sees a daemon that has ended; the log has the moments


def _rate_per_s(sends: Sequence[Send], looks: tuple[Look, ...]) -> float:
    """Rows committed from the first to the last send: what was committed after that does not count."""
    began_ms, ended_ms = sends[0].ts_ms, sends[-1].ts_ms
    committed = max((look.readings for look in looks if look.seen_ms <= ended_ms), default=0)
    return committed / max(ended_ms - began_ms, 1) * 1000


def _last_commit_s(looks: tuple[Look, ...]) -> float:
    """When the number of readings last grew."""
    return next(look.seen_ms for look in looks if look.readings == looks[-1].readings) / 1000
