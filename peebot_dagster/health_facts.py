"""The facts that the verdicts of `health` need, read from the store. No Dagster, no clock."""

from __future__ import annotations

from datetime import datetime, timedelta

import psycopg

from peebot_dagster.detectors.backlash import Backlash
from peebot_dagster.health import CatalogueFacts, ClockTick, LinkDay, TankDay
from peebot_dagster.posts.visit_history import VISIT_TYPES

DAY = timedelta(days=1)

_CLOCK = """
SELECT tick.value, tick.ts, tick.received_at, (
    SELECT value FROM telemetry_reading
    WHERE channel_id = (SELECT channel_id FROM telemetry_channel WHERE item_id = 'TIME_000002')
        AND value IS NOT NULL
    ORDER BY ts DESC LIMIT 1
)
FROM telemetry_reading tick
WHERE tick.channel_id = (SELECT channel_id FROM telemetry_channel WHERE item_id = 'TIME_000001')
    AND tick.ts >= %(now)s - interval '2 days' AND tick.ts < %(now)s + interval '1 day'
    AND tick.status_class = 24 AND NOT tick.is_snapshot AND tick.value IS NOT NULL
ORDER BY tick.ts DESC LIMIT 1
"""
# A channel that is known has a row in each minute with a live link: some minutes tell for a day.
_CATALOGUE = """
WITH heard AS (
    SELECT DISTINCT channel_id FROM telemetry_minute
    WHERE minute IN (
        SELECT date_trunc('minute', %(now)s::timestamptz, 'UTC') - step * interval '47 minutes'
        FROM generate_series(0, 30) AS step
        UNION ALL
        SELECT max(minute) FROM telemetry_minute WHERE minute >= %(now)s - interval '1 day'
    )
)
SELECT (SELECT count(*) FROM telemetry_channel WHERE catalogued),
    ARRAY(SELECT item_id FROM telemetry_channel
          WHERE catalogued AND channel_id NOT IN (SELECT channel_id FROM heard) ORDER BY item_id),
    ARRAY(SELECT item_id FROM telemetry_channel WHERE NOT catalogued ORDER BY item_id)
"""


def clock_tick(connection: psycopg.Connection, now: datetime) -> ClockTick | None:
    """The newest good tick of the station's clock of the last two days before `now` (UTC)."""
    row = connection.execute(_CLOCK, {"now": now}).fetchone()
    if row is None:
        return None
    value_ms, ts, received_at, year = row
    return ClockTick(value_ms, ts, received_at, None if year is None else int(year))


def link_day(connection: psycopg.Connection, now: datetime) -> LinkDay:
    """How the link was in the 24 h before `now` (UTC), or since the first daemon ever told of it."""
    ((first,),) = connection.execute("SELECT min(started_at) FROM link_interval").fetchall()
    if first is None or first >= now:
        return LinkDay(*[timedelta(0)] * 4)
    since = max(now - DAY, first)
    told: dict[str, timedelta] = dict(
        connection.execute(
            "SELECT state, sum(ended_at - started_at) FROM link(%s, %s) GROUP BY 1", (since, now)
        ).fetchall()
    )
    live, los, down = (told.get(state, timedelta(0)) for state in ("LIVE", "LOS", "DOWN"))
    return LinkDay(now - since, live, los, down)


def catalogue_facts(connection: psycopg.Connection, now: datetime) -> CatalogueFacts:
    """Which items of the catalogue told nothing in the day before `now` (UTC), and which it does not know."""
    row = connection.execute(_CATALOGUE, {"now": now}).fetchone()
    assert row is not None  # noqa: S101  a SELECT without FROM
    return CatalogueFacts(*row)


def tank_day(connection: psycopg.Connection, detector: str, level_item: str, now: datetime) -> TankDay | None:
    """The last 24 h of the tank as far as the detector has seen them; None before its first run.

    The day begins before a rise that is under way at its border.
    """
    row = connection.execute(
        "SELECT least(watermark, %s) FROM processor_state WHERE detector = %s AND watermark IS NOT NULL",
        (now, detector),
    ).fetchone()
    if row is None:
        return None
    (end,) = row
    ((start,),) = connection.execute(
        """
        SELECT least(%(start)s, min(started_at)) FROM detected_event
        WHERE detector = %(detector)s AND state <> 'retracted'
            AND started_at BETWEEN %(start)s - interval '1 hour' AND %(start)s AND ended_at >= %(start)s
        """,
        {"detector": detector, "start": end - DAY},
    ).fetchall()
    span = {"detector": detector, "start": start, "end": end, "visits": list(VISIT_TYPES)}
    ((visits, explained),) = connection.execute(
        """
        SELECT count(*) FILTER (WHERE event_type = ANY(%(visits)s)),
            coalesce(sum((payload->>'amount_percent')::float8), 0)
        FROM detected_event
        WHERE detector = %(detector)s AND started_at >= %(start)s AND started_at < %(end)s
            AND state <> 'retracted'
        """,
        span,
    ).fetchall()
    levels = connection.execute(
        """
        SELECT value FROM telemetry_window(
            ARRAY(SELECT channel_id FROM telemetry_channel WHERE item_id = %s), %s, %s
        )
        WHERE coalesce(status_class, 24) = 24 AND value BETWEEN 0 AND 100
        """,
        (level_item, start, end),
    ).fetchall()
    return TankDay(visits, rises_of([level for (level,) in levels]), explained)


def rises_of(levels: list[float]) -> float:
    """The sum of all rises of a level (%), without the dither at a truncation border."""
    if not levels:
        return 0.0
    backlash = Backlash(levels[0])
    return sum(max(backlash.move(level), 0.0) for level in levels[1:])
