"""How the ingest daemon fares by its own metrics: what is left to ask while the database is away."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from peebot_dagster.ingest_metrics import IngestDepths, read_depths


class DaemonStatus(BaseModel):
    """What `peebot status --json` prints, with exit code 1, when only the daemon answers."""

    model_config = ConfigDict(frozen=True)

    database: str
    """Why the database tells nothing."""
    feed: Literal["LIVE", "LOS", "DOWN"] | None
    """What this daemon hears; None before it knows."""
    spool_readings: int
    """Updates that wait on disk for the database."""
    spool_bytes: int | None
    spool_limit_bytes: int | None
    spool_full: bool
    """The spool, or its disk, takes no more: what is heard stays in memory."""
    queue_depth: int | None
    """Updates in the daemon's memory."""
    lost: int
    """Updates lost since the daemon's start, because memory was full, too."""
    spool: str
    """The same in a few words."""
    home: str
    pid: int | None
    metrics_url: str


def read_daemon_status(metrics_url: str, why: str, home: str, pid: int | None = None) -> DaemonStatus | None:
    """What the daemon at this URL tells; None when none answers. `why` the database does not."""
    depths = read_depths(metrics_url)
    if depths.spool_readings is None:
        return None
    return DaemonStatus(
        database=why,
        feed=depths.feed,
        spool_readings=depths.spool_readings,
        spool_bytes=depths.spool_bytes,
        spool_limit_bytes=depths.spool_limit_bytes,
        spool_full=bool(depths.spool_full),
        queue_depth=depths.queue_depth,
        lost=depths.lost,
        spool=describe_spool(depths),
        home=home,
        pid=pid,
        metrics_url=metrics_url,
    )


def describe_spool(depths: IngestDepths) -> str:
    """What waits, and what becomes of what comes now."""
    on_disk, in_memory = depths.spool_readings or 0, depths.queue_depth or 0
    text = f"{on_disk:,} updates wait on disk, {in_memory:,} in memory"
    if depths.spool_limit_bytes:
        text += f"; {(depths.spool_bytes or 0) / 1e6:.1f} of {depths.spool_limit_bytes / 1e6:.0f} MB"
    if not depths.spool_full:
        return text
    if depths.lost:
        return f"spool full: the oldest are dropped, {depths.lost:,} since the start; {text}"
    if depths.queue_limit is not None and in_memory >= depths.queue_limit:
        return f"spool full: reading has stopped; {text}"
    return f"spool full: what comes stays in memory; {text}"
