"""Whether a detector's channels were heard lately: when they have died, it finds nothing, without an error.

Silence is normal: only changes travel, and a state may hold for weeks. No Dagster, no clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import psycopg

from peebot_dagster.detectors.detector import Detector
from peebot_dagster.health import WATCHED_SHARE, LinkDay, Verdict
from peebot_dagster.health_facts import DAY, link_day

CHANNELS_HEARD = "channels_are_heard"

HABIT_DAYS = 7
"""A channel that was heard on each of so many days is expected to be heard each day."""

REMEMBERED = timedelta(days=30)
"""What has been silent for longer has no habits."""


@dataclass(frozen=True)
class Channel:
    """When an item last had a good reading (UTC; None: not within `REMEMBERED`).

    `days`: of the `HABIT_DAYS` before that, on how many it had one.
    """

    item: str
    newest: datetime | None
    days: int


def heard(connection: psycopg.Connection, detector: Detector, now: datetime) -> Verdict:
    """The verdict on a detector's channels at `now` (UTC)."""
    link = link_day(connection, now)
    # A day that was hardly heard tells nothing: the channels need not be looked up.
    channels = channel_facts(connection, detector.items, now) if _is_telling(link) else []
    return channels_heard(channels, link, now)


def channels_heard(channels: Sequence[Channel], link: LinkDay, now: datetime) -> Verdict:
    """A warning when none of the channels was heard for a day, or one was not that is heard each day."""
    if not _is_telling(link) or not channels:
        return Verdict(CHANNELS_HEARD, "fine", "Judged once most of a day was heard.")
    silent = [channel for channel in channels if channel.newest is None or now - channel.newest > DAY]
    dead = [channel.item for channel in silent if channel.days == HABIT_DAYS]
    numbers = {"channels": len(channels), "silent_for_a_day": len(silent)}
    if len(silent) == len(channels):
        advice = (
            f"Nothing was heard of {', '.join(channel.item for channel in channels)} for a day of a live "
            "link: this detector sees nothing. Does the feed still fill these items, and does a daemon "
            "listen to them (`--channels`)?"
        )
    elif dead:
        advice = (
            f"{', '.join(dead)}: silent for a day of a live link, though heard on each of the {HABIT_DAYS} "
            "days before. The sensor may be off, or the feed no longer fills the item."
        )
    else:
        return Verdict(CHANNELS_HEARD, "fine", "Its channels are heard as usual.", numbers)
    return Verdict(CHANNELS_HEARD, "warning", advice, numbers)


def _is_telling(link: LinkDay) -> bool:
    return link.live_share >= WATCHED_SHARE and link.span >= timedelta(hours=23)


def channel_facts(connection: psycopg.Connection, items: Sequence[str], now: datetime) -> list[Channel]:
    """What is stored of these items up to `now` (UTC); the habits only of those that are silent."""
    rows = connection.execute(
        """
        SELECT wanted.item, newest.ts, (
            SELECT count(*) FROM generate_series(1, %(days)s) AS day
            WHERE newest.ts < %(now)s - interval '1 day' AND EXISTS (
                SELECT FROM telemetry_reading AS r
                WHERE r.channel_id = c.channel_id AND r.ts >= newest.ts - day * interval '1 day'
                    AND r.ts < newest.ts - (day - 1) * interval '1 day' AND coalesce(r.status_class, 24) = 24
            )
        )
        FROM unnest(%(items)s::text[]) WITH ORDINALITY AS wanted (item, place)
        LEFT JOIN telemetry_channel AS c ON c.item_id = wanted.item
        LEFT JOIN LATERAL (
            SELECT r.ts FROM telemetry_reading AS r
            WHERE r.channel_id = c.channel_id AND r.ts >= %(since)s AND r.ts < %(now)s + interval '1 day'
                AND coalesce(r.status_class, 24) = 24
            ORDER BY r.ts DESC LIMIT 1
        ) AS newest ON true
        ORDER BY wanted.place
        """,
        {"items": list(items), "now": now, "since": now - REMEMBERED, "days": HABIT_DAYS},
    ).fetchall()
    return [Channel(*row) for row in rows]
