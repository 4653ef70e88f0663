"""What the store knows of the link in a span: when the station was heard, and when only the server was."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import psycopg

from peebot_dagster.detectors.detector import LiveInterval, LostInterval

_LISTENING = """
SELECT last_seen_at FROM link_interval
WHERE ended_at IS NULL AND (split_part(source, '/', 1) = 'replay' OR last_seen_at > greatest(
    (SELECT max(last_seen_at) FROM link_interval), (SELECT max(hour) FROM telemetry_revision)
) - interval '1 day')
"""
_KNOWN = """
SELECT EXISTS (SELECT FROM link_interval WHERE split_part(source, '/', 1) <> 'replay'
               AND started_at < %(end)s AND coalesce(ended_at, last_seen_at) > %(start)s)
"""
# What any source heard was not lost; for that, each source counts over the whole of a loss.
_LOST = """
WITH los AS MATERIALIZED (
    SELECT started_at, least(coalesce(ended_at, last_seen_at), %(end)s) AS ended_at FROM link_interval
    WHERE state = 'LOS' AND split_part(source, '/', 1) <> 'replay'
        AND started_at < %(end)s AND (ended_at IS NULL OR ended_at > %(start)s)
),
live AS (
    SELECT tstzrange(started_at, coalesce(ended_at, last_seen_at)) AS span FROM link_interval
    WHERE state = 'LIVE' AND started_at < %(end)s
        AND (ended_at IS NULL OR ended_at > (SELECT min(started_at) FROM los))
)
SELECT lower(lost), upper(lost) FROM unnest(
    (SELECT range_agg(tstzrange(started_at, ended_at)) FROM los)
    - coalesce((SELECT range_agg(span) FROM live), '{}'::tstzmultirange)
) AS lost
WHERE upper(lost) > %(start)s ORDER BY 1
"""


@dataclass(frozen=True)
class Link:
    """The LIVE and the LOS intervals of a span, as in `Window`; both are None where nothing is known."""

    live: tuple[LiveInterval, ...] | None
    lost: tuple[LostInterval, ...] | None


def load_link(connection: psycopg.Connection, start: datetime, end: datetime) -> Link:
    """What is known of the link in [start, end) (UTC)."""
    span = {"start": start, "end": end}
    # A recording holds no link state: the link of its replay tells nothing about what the logger could hear.
    ((known,),) = connection.execute(_KNOWN, span).fetchall()
    if not known:
        return Link(None, None)
    live = connection.execute(
        "SELECT started_at, ended_at FROM live_intervals(%(start)s, %(end)s) ORDER BY started_at", span
    ).fetchall()
    lost = connection.execute(_LOST, span).fetchall()
    return Link(
        live=tuple(LiveInterval(*row) for row in live), lost=tuple(LostInterval(*row) for row in lost)
    )


def listening(connection: psycopg.Connection) -> tuple[datetime, ...]:
    """Up to when (UTC) the daemons that listen now, live or in a replay, have told what they heard.

    A daemon that was retired for good leaves its last interval open for ever: it counts until others know of
    a day more. A replay counts however long ago it was what it plays.
    """
    return tuple(moment for (moment,) in connection.execute(_LISTENING).fetchall())
