"""How a PeeBot fares, read from its database."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal

import psycopg
from psycopg.rows import dict_row
from pydantic import BaseModel, ConfigDict

from peebot_dagster.ingest_metrics import read_depths
from peebot_dagster.store import HEARTBEAT_LIMIT

_STATUS = """
SELECT coalesce((SELECT state FROM link_interval
                 WHERE ended_at IS NULL AND split_part(source, '/', 1) <> 'replay'
                     AND last_seen_at >= %(alive_since)s
                 ORDER BY array_position(ARRAY['LIVE', 'LOS', 'DOWN'], state) LIMIT 1), 'DOWN') AS feed,
       (SELECT coalesce(sum(readings), 0)::bigint FROM telemetry_revision) AS readings,
       (SELECT coalesce(sum(updates), 0)::bigint FROM rejected_day) AS rejected,
       (SELECT max(newest.ts) FROM telemetry_channel AS channel, LATERAL (
            SELECT reading.ts FROM telemetry_reading AS reading
            WHERE reading.channel_id = channel.channel_id
              AND reading.ts >= (SELECT max(hour) FROM telemetry_revision WHERE readings > 0)
            ORDER BY reading.ts DESC LIMIT 1) AS newest) AS newest,
       (SELECT count(*) FROM detected_event WHERE state <> 'retracted') AS events,
       (SELECT count(*) FROM post WHERE state IN ('sent', 'dry_run')) AS posts,
       muted_at IS NOT NULL AS muted, muted_until,
       store_edition()
FROM (VALUES (true)) AS always
LEFT JOIN posting_mute ON muted_until IS NULL OR muted_until > %(now)s
"""
_LAST_EVENTS = """
SELECT started_at, event_type, state, confidence, payload FROM detected_event
WHERE state <> 'retracted' ORDER BY started_at DESC LIMIT %s
"""
_LAST_POSTS = """
SELECT post.created_at, post.platform, post.state, post.text, post.reason FROM post
WHERE post.state IN ('sent', 'dry_run', 'failed', 'unknown') ORDER BY post.created_at DESC LIMIT %s
"""


class Status(BaseModel):
    """What `peebot status --json` promises; it may grow, and no field changes its meaning."""

    model_config = ConfigDict(frozen=True)

    feed: Literal["LIVE", "LOS", "DOWN"]
    """The best state that any daemon confirms."""
    readings: int
    rejected: int
    """Updates rejected or lost, also those only counted, in the days for which rejected ones are kept."""
    newest_age_s: float | None
    """Age of the newest reading by its event time, in seconds; None when there is none."""
    events: int
    posts: int
    """Those sent, or shown by the dry run."""
    muted: bool
    """Nothing is posted now, by ./peebot mute."""
    muted_until: datetime | None
    """Until when it is muted (UTC); None: it is not, or until ./peebot unmute."""
    store_edition: str
    ui_url: str | None
    live_url: str | None
    """The live page of the runner; None when only the database was asked."""
    pid: int | None
    """The process of the runner; None when only the database was asked."""
    home: str
    metrics_url: str | None
    """Where the ingest daemon of the runner tells its metrics, and, beside it, at /healthz, its health."""
    spool_readings: int | None
    """Updates that wait on disk for the database; None when that daemon does not answer."""
    queue_depth: int | None
    """Updates in its memory; None when it does not answer."""
    spool_full: bool | None
    """Its spool, or that one's disk, takes no more; None when it does not answer."""


class LastEvent(BaseModel):
    """One of the newest events. Times are UTC."""

    started_at: datetime
    event_type: str
    state: str
    confidence: float
    payload: dict[str, Any]


class LastPost(BaseModel):
    """One of the newest posts. Times are UTC."""

    created_at: datetime
    platform: str
    state: str
    text: str | None
    reason: str | None


def read_status(
    connection: psycopg.Connection,
    now: datetime,
    home: str,
    ui_url: str | None = None,
    pid: int | None = None,
    metrics_url: str | None = None,
    live_url: str | None = None,
) -> Status:
    """The status at `now` (UTC), in one statement of a few milliseconds and one question to the daemon."""
    with connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(_STATUS, {"now": now, "alive_since": now - HEARTBEAT_LIMIT}).fetchone()
    if row is None:
        raise AssertionError("the query always has one row")
    newest = row.pop("newest")
    if row["muted_until"] is not None:
        row["muted_until"] = row["muted_until"].astimezone(UTC)
    age = None if newest is None else round(max(0.0, (now - newest).total_seconds()), 1)
    depths = read_depths(metrics_url)
    return Status(
        **row,
        newest_age_s=age,
        ui_url=ui_url,
        live_url=live_url,
        pid=pid,
        home=home,
        metrics_url=metrics_url,
        spool_readings=depths.spool_readings,
        queue_depth=depths.queue_depth,
        spool_full=depths.spool_full,
    )


def last_events(connection: psycopg.Connection, count: int) -> list[LastEvent]:
    """The events that began last, newest first."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return [LastEvent.model_validate(row) for row in cursor.execute(_LAST_EVENTS, (count,))]


def last_posts(connection: psycopg.Connection, count: int) -> list[LastPost]:
    """The posts that were decided last, without those that a policy has skipped, newest first."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return [LastPost.model_validate(row) for row in cursor.execute(_LAST_POSTS, (count,))]
