"""What the ingest daemon says of itself at its /metrics."""

from __future__ import annotations

import http.client
import urllib.request
from dataclasses import dataclass
from typing import get_args

from prometheus_client.parser import text_string_to_metric_families

from peebot_dagster.store import LinkState

METRICS_PORT = 9473
"""Where the daemon of a server has them, unless told."""
METRICS_VARIABLE = "PEEBOT_ALERT_METRICS"
"""The /metrics of the daemons whose spools alerts watch, separated by blanks."""

_NUMBERS = ("spool_readings", "queue_depth", "queue_limit", "spool_bytes", "spool_limit_bytes")
_ASKED = {f"peebot_{name}" for name in (*_NUMBERS, "spool_full", "feed_state", "rejected_total")}
_TIMEOUT_S = 1.0
# No proxy of the environment stands between a machine and itself.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True)
class IngestDepths:
    """Updates that wait, and where they can; None where nobody answers."""

    spool_readings: int | None = None
    queue_depth: int | None = None
    queue_limit: int | None = None
    spool_bytes: int | None = None
    spool_limit_bytes: int | None = None
    spool_full: bool | None = None
    feed: LinkState | None = None
    """What the daemon hears; None also before it knows."""
    lost: int = 0
    """Updates that went because memory was full, since the daemon's start."""


def read_depths(metrics_url: str | None) -> IngestDepths:
    """What waits in the daemon whose metrics are at this URL; it may be down, or stuck."""
    if metrics_url is None:
        return IngestDepths()
    try:
        with _OPENER.open(metrics_url, timeout=_TIMEOUT_S) as answer:
            text = answer.read().decode()
        samples = {
            (sample.name.removeprefix("peebot_"), *sample.labels.values()): int(sample.value)
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name in _ASKED
        }
    except (OSError, http.client.HTTPException, ValueError):
        # Nobody, or somebody else who got the port of a daemon that has ended.
        return IngestDepths()
    full = samples.get(("spool_full",))
    return IngestDepths(
        **{name: samples.get((name,)) for name in _NUMBERS},
        spool_full=None if full is None else bool(full),
        feed=next((state for state in get_args(LinkState) if samples.get(("feed_state", state))), None),
        lost=samples.get(("rejected_total", "queue_overflow"), 0),
    )
