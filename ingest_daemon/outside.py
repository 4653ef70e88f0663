"""What is seen of the daemon from outside: its metrics, its health, what its service manager hears."""

from __future__ import annotations

import time
from dataclasses import dataclass

from ingest_daemon.health import Beat, Health
from ingest_daemon.link import LinkState
from ingest_daemon.metrics import Metrics
from ingest_daemon.service_manager import ServiceManager


@dataclass(frozen=True)
class Outside:
    """Told by the main loop after each round that it has really done: that is the only proof of life."""

    metrics: Metrics
    health: Health
    manager: ServiceManager

    def round_done(
        self,
        monotonic_s: float,
        state: LinkState | None = None,
        heard_s: float | None = None,
        away_since_s: float | None = None,
        waiting: int = 0,
        behind_s: float = 0.0,
        *,
        spool_is_full: bool = False,
    ) -> None:
        """Moments are monotonic seconds: when the newest live update came, since when the database is away.

        `waiting`: updates in memory only. `behind_s`: how long an update may wait inside the feed's client.
        """
        self.health.beat(Beat(monotonic_s, state, heard_s, away_since_s, behind_s, spool_is_full))
        self.metrics.queue_depth.set(waiting)
        self.metrics.client_lag.set(behind_s)
        if state is not None:
            self.metrics.feed_state(state)
        status = ["starting" if state is None else state.value]
        status += ["the database is away"] if away_since_s is not None else []
        status += ["the spool is full"] if spool_is_full else []
        self.manager.progress(", ".join(status), monotonic_s)


def unseen() -> Outside:
    """For a daemon that nobody looks at."""
    return Outside(Metrics(), Health(time.monotonic()), ServiceManager({}))
