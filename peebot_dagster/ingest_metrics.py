"""What the ingest daemon says of itself at its /metrics."""

from __future__ import annotations

import http.client
import urllib.request
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

METRICS_PORT = 9473
"""Where the daemon of a server has them, unless told."""
METRICS_VARIABLE = "PEEBOT_ALERT_METRICS"
"""The /metrics of the daemons whose spools alerts watch, separated by blanks."""

_TIMEOUT_S = 1.0
# No proxy of the environment stands between a machine and itself.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True)
class IngestDepths:
    """Updates that wait; None where nobody answers."""

    spool_readings: int | None = None
    queue_depth: int | None = None


def read_depths(metrics_url: str | None) -> IngestDepths:
    """What waits in the daemon whose metrics are at this URL; it may be down, or stuck."""
    if metrics_url is None:
        return IngestDepths()
    try:
        with _OPENER.open(metrics_url, timeout=_TIMEOUT_S) as answer:
            text = answer.read().decode()
        samples = {
            sample.name: int(sample.value)
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name in ("peebot_spool_readings", "peebot_queue_depth")
        }
    except (OSError, http.client.HTTPException, ValueError):
        # Nobody, or somebody else who got the port of a daemon that has ended.
        return IngestDepths()
    return IngestDepths(samples.get("peebot_spool_readings"), samples.get("peebot_queue_depth"))
