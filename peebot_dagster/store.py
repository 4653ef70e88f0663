"""Reads of the store that several parts share: what is stale, how the feed fares. No Dagster, no clock."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

HOUR = timedelta(hours=1)

HEARTBEAT_LIMIT = timedelta(seconds=15)
"""The daemon confirms the link each half second; unconfirmed for this long, the link counts as DOWN."""

LinkState = Literal["LIVE", "LOS", "DOWN"]


# A server that has vanished without a word must not be waited for for minutes ...
_CONNECTION_DEFAULTS = make_conninfo(connect_timeout=10, keepalives_idle=10, tcp_user_timeout=10_000)
# ... and a client that has vanished must not keep its locks for the two hours of the system's defaults; nor,
# where an answer is still on its way to it and no keepalive is sent therefore, for the quarter of an hour.
_SESSION_DEFAULTS = (
    "-c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=4"
    " -c tcp_user_timeout=30000"
)


def with_time_outs(database_url: str) -> str:
    """What to connect with so that each end notices in 30 s that the other is dead.

    Where the URL says otherwise of its time-outs, that holds.
    """
    said = conninfo_to_dict(database_url)
    options = f"{_SESSION_DEFAULTS} {said.pop('options', None) or ''}".rstrip()
    return make_conninfo(_CONNECTION_DEFAULTS, **{**said, "options": options})


def connection_info(database_url: str, application_name: str) -> str:
    """What to connect with, as `with_time_outs`, and timestamps come back in UTC."""
    patient = with_time_outs(database_url)
    options = f"{conninfo_to_dict(patient)['options']} -c TimeZone=UTC"
    return make_conninfo(patient, application_name=application_name, options=options)


def connect(database_url: str, application_name: str = "peebot_dagster") -> psycopg.Connection:
    """A new connection, as `connection_info` has it."""
    return psycopg.connect(connection_info(database_url, application_name))


def hour_of(moment: datetime) -> datetime:
    """The start of the UTC hour that holds `moment`."""
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def lock_processor(connection: psycopg.Connection, processor: str) -> None:
    """Wait until no other transaction computes for this processor; held until the transaction ends."""
    connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"peebot:{processor}",))


def stale_hours(connection: psycopg.Connection, processor: str) -> list[datetime]:
    """The hours (UTC, newest first) whose telemetry has changed since the processor took it into account."""
    rows = connection.execute(
        """
        SELECT r.hour FROM telemetry_revision r
        LEFT JOIN processor_revision p ON p.processor = %s AND p.hour = r.hour
        WHERE r.revision <> coalesce(p.revision, 0)
        ORDER BY r.hour DESC
        """,
        (processor,),
    ).fetchall()
    return [row[0] for row in rows]


def was_processed(connection: psycopg.Connection, processor: str, hour: datetime) -> bool:
    """Whether the processor has taken the hour (UTC) into account before, in whatever state it was."""
    row = connection.execute(
        "SELECT FROM processor_revision WHERE processor = %s AND hour = %s", (processor, hour)
    ).fetchone()
    return row is not None


def contiguous_spans(hours: Iterable[datetime]) -> list[tuple[datetime, datetime]]:
    """Hours in any order as (start, end) spans without a gap, the newest first."""
    spans: list[tuple[datetime, datetime]] = []
    for hour in sorted(hours, reverse=True):
        if spans and spans[-1][0] == hour + HOUR:
            spans[-1] = (hour, spans[-1][1])
        else:
            spans.append((hour, hour + HOUR))
    return spans


def revisions(connection: psycopg.Connection, start: datetime, end: datetime) -> dict[datetime, int]:
    """The revision of each hour that lies wholly in [start, end). Read it before the telemetry itself:

    readings that are committed in between are then computed once too often, never too seldom.
    """
    rows = connection.execute(
        "SELECT hour, revision FROM telemetry_revision WHERE hour >= %s AND hour + interval '1 hour' <= %s",
        (start, end),
    ).fetchall()
    return dict(rows)


def mark_processed(
    connection: psycopg.Connection, processor: str, revision_of_hour: Mapping[datetime, int]
) -> None:
    """Note that the processor has taken these revisions into account."""
    connection.execute(
        """
        INSERT INTO processor_revision AS p (processor, hour, revision)
        SELECT %s, hour, revision FROM unnest(%s::timestamptz[], %s::bigint[]) AS seen (hour, revision)
        ON CONFLICT (processor, hour) DO UPDATE SET revision = excluded.revision
        WHERE p.revision <> excluded.revision
        """,
        (processor, list(revision_of_hour), list(revision_of_hour.values())),
    )


@dataclass(frozen=True)
class FeedState:
    """How the feed fares. Times are UTC; `rejected` counts the last hour, `readings` all that are stored."""

    state: LinkState
    source: str | None
    since: datetime | None
    readings: int
    newest_reading_at: datetime | None
    rejected_last_hour: int
    received_last_hour: int

    def lag(self, now: datetime) -> timedelta | None:
        """Age of the newest reading of the mission clock (or None before the first)."""
        return None if self.newest_reading_at is None else now - self.newest_reading_at

    @property
    def rejected_share(self) -> float:
        """Rejected updates as a share (0 to 1) of all updates of the last hour or so."""
        total = self.rejected_last_hour + self.received_last_hour
        return self.rejected_last_hour / total if total else 0.0


def feed_state(connection: psycopg.Connection, now: datetime) -> FeedState:
    """The state of the feed at `now` (UTC): the best that a daemon still confirms, else DOWN."""
    link = connection.execute(
        """
        SELECT state, source, started_at, last_seen_at FROM link_interval
        WHERE ended_at IS NULL
        ORDER BY last_seen_at >= %(alive_since)s DESC,
            CASE WHEN last_seen_at >= %(alive_since)s
                 THEN array_position(ARRAY['LIVE', 'LOS', 'DOWN'], state) END,
            last_seen_at DESC
        LIMIT 1
        """,
        {"alive_since": now - HEARTBEAT_LIMIT},
    ).fetchone()
    ((readings, received, rejected, newest),) = connection.execute(
        """
        SELECT (SELECT coalesce(sum(readings), 0)::bigint FROM telemetry_revision),
               (SELECT coalesce(sum(readings), 0)::bigint FROM telemetry_revision
                WHERE hour >= %(now)s - interval '2 hours'),
               (SELECT coalesce(sum(rejected_updates(fields)), 0)::bigint FROM rejected_reading
                WHERE received_at >= %(now)s - interval '1 hour'),
               (SELECT r.ts FROM telemetry_reading r JOIN telemetry_channel c USING (channel_id)
                WHERE c.item_id = 'TIME_000001' AND r.ts >= %(now)s - interval '2 days'
                ORDER BY r.ts DESC LIMIT 1)
        """,
        {"now": now},
    ).fetchall()
    state: LinkState
    source: str | None
    since: datetime | None
    if link is None:
        state, source, since = "DOWN", None, None
    else:
        state, source, since, last_seen = link
        if now - last_seen > HEARTBEAT_LIMIT:
            state, since = "DOWN", last_seen
    return FeedState(state, source, since, readings, newest, rejected, received)


@dataclass(frozen=True)
class MinuteSummary:
    """What telemetry_minute holds of one hour (UTC); `live_minutes` are those with a live link (0 to 60)."""

    hour: datetime
    rows: int
    readings: int
    channels: int
    live_minutes: float


def minute_summaries(connection: psycopg.Connection, start: datetime, end: datetime) -> list[MinuteSummary]:
    """One summary for each hour of [start, end) that has rows, oldest first."""
    rows = connection.execute(
        """
        SELECT date_trunc('hour', minute, 'UTC'), sum(minutes.rows)::bigint,
               sum(minutes.readings)::bigint, max(minutes.channels), sum(minutes.live_seconds) / 60
        FROM (
            SELECT minute, count(*) AS rows, sum(readings) AS readings,
                   count(*) FILTER (WHERE live_seconds > 0 OR readings > 0) AS channels,
                   max(live_seconds) AS live_seconds
            FROM telemetry_minute WHERE minute >= %s AND minute < %s GROUP BY minute
        ) AS minutes
        GROUP BY 1 ORDER BY 1
        """,
        (start, end),
    ).fetchall()
    return [MinuteSummary(*row) for row in rows]


def coverage(
    connection: psycopg.Connection, items: Sequence[str], start: datetime, end: datetime
) -> dict[datetime, float]:
    """For each hour (UTC) of [start, end) the share (0 to 1) in which all these items were known and live."""
    rows = connection.execute(
        """
        SELECT hour, min(known) FROM (
            SELECT date_trunc('hour', m.minute, 'UTC') AS hour, c.item_id, sum(m.live_seconds) / 3600 AS known
            FROM telemetry_minute m JOIN telemetry_channel c USING (channel_id)
            WHERE c.item_id = ANY(%s) AND m.minute >= %s AND m.minute < %s
            GROUP BY 1, 2
        ) AS items
        GROUP BY hour HAVING count(*) = %s
        """,
        (list(items), start, end, len(items)),
    ).fetchall()
    return {hour: float(known) for hour, known in rows}
