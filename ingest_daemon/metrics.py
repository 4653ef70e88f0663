"""What the daemon counts and measures, in Prometheus' terms, in a registry of its own."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from ingest_daemon.link import LinkState

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
COPY_BUCKETS_S = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)


class Metrics:
    """One daemon's metrics. Any thread may use them; count once a batch, not once an update.

    `spool_*` are set by whoever keeps the spool, `copy_seconds` is observed around each committed batch.
    """

    def __init__(self, now: Callable[[], datetime | None] = lambda: datetime.now(UTC)) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self.received = Counter(
            "peebot_received", "Updates taken from the feed, valid or not.", registry=registry
        )
        self.stored = Counter(
            "peebot_stored", "Readings committed that were not stored yet.", registry=registry
        )
        self.duplicates = Counter(
            "peebot_duplicates", "Readings that turned out to be stored already.", registry=registry
        )
        self._rejected = Counter(
            "peebot_rejected",
            "Updates that are no readings or are lost, by reason code.",
            ["reason"],
            registry=registry,
        )
        # Prometheus sees an increase only of what it has seen before.
        for reason in ("client_overflow", "queue_overflow"):
            self._rejected.labels(reason)
        self.reconnects = Counter(
            "peebot_reconnects", "Times that the connection to the server was made again.", registry=registry
        )
        self.queue_depth = Gauge(
            "peebot_queue_depth", "Updates in memory that are not stored yet.", registry=registry
        )
        self.client_lag = Gauge(
            "peebot_client_lag_seconds",
            "Time that an update may wait inside the client of the feed; it is looked at every 0.2 s.",
            registry=registry,
        )
        self.queue_limit = Gauge(
            "peebot_queue_limit",
            "Updates that memory takes; then a tlcp feed stops reading, of the official one the oldest go.",
            registry=registry,
        )
        self.spool_readings = Gauge(
            "peebot_spool_readings", "Readings in the spool on disk.", registry=registry
        )
        self.spool_bytes = Gauge("peebot_spool_bytes", "Size of the spool on disk.", registry=registry)
        self.spool_limit_bytes = Gauge(
            "peebot_spool_limit_bytes", "Size up to which the spool may grow; 0: none.", registry=registry
        )
        self.spool_full = Gauge(
            "peebot_spool_full",
            "1 while the spool, or its disk, takes no more, 0 otherwise.",
            registry=registry,
        )
        self.copy_seconds = Histogram(
            "peebot_copy_seconds",
            "Time to store one batch: COPY, merge and commit.",
            buckets=COPY_BUCKETS_S,
            registry=registry,
        )
        self._feed_state = Gauge(
            "peebot_feed_state",
            "1 for the state that the link is in, 0 for the others.",
            ["state"],
            registry=registry,
        )
        for state in LinkState:
            self._feed_state.labels(state).set(0)
        self._now = now
        self._newest_event: datetime | None = None
        self._newest_received: datetime | None = None
        Gauge(
            "peebot_event_lag_seconds",
            "Time since the event of the newest reading committed.",
            registry=registry,
        ).set_function(lambda: self._age(self._newest_event))
        Gauge(
            "peebot_receive_lag_seconds",
            "Time since the arrival of the newest reading committed.",
            registry=registry,
        ).set_function(lambda: self._age(self._newest_received))

    def rejected(self, reason: str, count: int = 1) -> None:
        """Count updates that are no readings; `reason` is one of our codes, never a text from outside."""
        self._rejected.labels(reason).inc(count)

    def feed_state(self, state: LinkState) -> None:
        """The link is in this state from now on."""
        for each in LinkState:
            self._feed_state.labels(each).set(1 if each is state else 0)

    def committed(self, newest_event: datetime, newest_received: datetime) -> None:
        """A batch is committed; the two are the greatest `ts` and `received_at` in it (UTC)."""
        self._newest_event = max(newest_event, self._newest_event or newest_event)
        self._newest_received = max(newest_received, self._newest_received or newest_received)

    def exposition(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self.registry)

    def _age(self, moment: datetime | None) -> float:
        now = self._now()
        return float("nan") if moment is None or now is None else (now - moment).total_seconds()
