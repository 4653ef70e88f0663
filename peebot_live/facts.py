"""What the live page tells, read from the store in a few statements. Reading is all that its role needs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

import psycopg
from psycopg.rows import class_row

from peebot_dagster.store import HEARTBEAT_LIMIT, LinkState

CURVE = timedelta(hours=12)
POSTS = 3

# A replay's LIVE means that readings were played, not that the signal was there.
_LINK = """
SELECT CASE WHEN last_seen_at >= %(alive_since)s THEN state ELSE 'DOWN' END AS state,
    CASE WHEN last_seen_at >= %(alive_since)s THEN started_at ELSE last_seen_at END AS since
FROM link_interval WHERE ended_at IS NULL AND split_part(source, '/', 1) <> 'replay'
ORDER BY last_seen_at >= %(alive_since)s DESC, array_position(ARRAY['LIVE', 'LOS', 'DOWN'], state),
    last_seen_at DESC
LIMIT 1
"""
_LEVEL = """
SELECT reading.ts AS at, reading.value FROM telemetry_reading AS reading
WHERE reading.channel_id = %(channel_id)s AND reading.value IS NOT NULL
    AND reading.ts BETWEEN %(since)s AND %(until)s
ORDER BY reading.ts DESC LIMIT 1
"""
_CURVE = """
SELECT DISTINCT ON (date_trunc('minute', ts)) ts AS at, value FROM telemetry_reading
WHERE channel_id = %(channel_id)s AND value IS NOT NULL AND ts BETWEEN %(since)s AND %(until)s
ORDER BY date_trunc('minute', ts), ts DESC
"""
_VISIT = """
SELECT started_at AS at, state, confidence, (payload->>'amount_percent')::float8 AS amount_percent,
    (payload->>'amount_ml')::float8 AS amount_ml
FROM detected_event WHERE event_type = ANY(%(visits)s) AND state <> 'retracted' AND started_at <= %(until)s
ORDER BY started_at DESC LIMIT 1
"""
_VISITS_TODAY = """
SELECT count(*) FROM detected_event
WHERE event_type = ANY(%(visits)s) AND state <> 'retracted' AND started_at BETWEEN %(midnight)s AND %(until)s
"""
_POSTS = """
SELECT updated_at AS at, platform, state, text FROM post
WHERE state IN ('sent', 'dry_run') AND text IS NOT NULL ORDER BY updated_at DESC LIMIT %(posts)s
"""
_MUTED = "SELECT EXISTS (SELECT FROM posting_mute WHERE muted_until IS NULL OR muted_until > %(until)s)"

VISITS = ["toilet_visit", "toilet_visit_masked"]


@dataclass(frozen=True)
class Link:
    """The link's state, and since when (UTC)."""

    state: LinkState
    since: datetime


@dataclass(frozen=True)
class Level:
    """The tank's level (%) as the station last told it; `at` is its event time (UTC)."""

    at: datetime
    value: float


@dataclass(frozen=True)
class Visit:
    """A visit: its begin (UTC), its life, how sure it is (0 to 1), and its size."""

    at: datetime
    state: Literal["open", "closed"]
    confidence: float
    amount_percent: float | None
    amount_ml: float | None


@dataclass(frozen=True)
class Post:
    """What was posted, or would have been; `at` is when (UTC)."""

    at: datetime
    platform: str
    state: Literal["sent", "dry_run"]
    text: str


@dataclass(frozen=True)
class Facts:
    """All that the page tells at `now` (UTC)."""

    now: datetime
    link: Link | None
    level: Level | None
    curve: tuple[Level, ...]
    """The last value of each minute of CURVE that has one, oldest first."""
    visit: Visit | None
    visits_today: int
    posts: tuple[Post, ...]
    """The newest, newest first."""
    muted: bool


async def channel_of(connection: psycopg.AsyncConnection, item: str) -> int:
    """The channel id of the tank's level; LookupError when the catalogue does not know the item."""
    cursor = await connection.execute("SELECT channel_id FROM telemetry_channel WHERE item_id = %s", (item,))
    row = await cursor.fetchone()
    if row is None:
        raise LookupError(f"the catalogue has no item {item!r}")
    return int(row[0])


async def read_facts(
    connection: psycopg.AsyncConnection, channel_id: int, now: datetime, curve: tuple[Level, ...] | None
) -> Facts:
    """The facts at `now` (UTC); a `curve` that is given is not read anew."""
    midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    given = {
        "channel_id": channel_id,
        "alive_since": now - HEARTBEAT_LIMIT,
        "since": now - CURVE,
        # A station whose clock runs ahead of ours by a little is no reason to show nothing.
        "until": now + timedelta(minutes=1),
        "midnight": midnight,
        "visits": VISITS,
        "posts": POSTS,
    }
    async with connection.cursor(row_factory=class_row(Link)) as cursor:
        link = await (await cursor.execute(_LINK, given)).fetchone()
    async with connection.cursor(row_factory=class_row(Level)) as cursor:
        level = await (await cursor.execute(_LEVEL, given)).fetchone()
        if curve is None:
            curve = tuple(await (await cursor.execute(_CURVE, given)).fetchall())
    async with connection.cursor(row_factory=class_row(Visit)) as cursor:
        visit = await (await cursor.execute(_VISIT, given)).fetchone()
    async with connection.cursor(row_factory=class_row(Post)) as cursor:
        posts = tuple(await (await cursor.execute(_POSTS, given)).fetchall())
    today = await (await connection.execute(_VISITS_TODAY, given)).fetchone()
    muted = await (await connection.execute(_MUTED, given)).fetchone()
    assert today is not None and muted is not None  # noqa: S101, PT018  each has one row
    return Facts(now, link, level, curve, visit, int(today[0]), posts, bool(muted[0]))
