"""The station's usual traffic: what the channels say while nothing happens, now and in the hours before."""

from __future__ import annotations

from datetime import timedelta

import psycopg

from peebot_dagster.detectors.detector import state_items
from peebot_dagster.detectors.registry import detectors_by_settings

HOURS_BEFORE = timedelta(hours=16)
"""As far back as any detector looks that rests for less than five minutes."""

_USUAL = {"AIRLOCK000049": 734.0, "AIRLOCK000054": 734.0, "P6000001": 160.0, "P6000004": 160.0}
_USUAL |= {"S4000001": 160.0, "S6000001": 160.0}
_ELSEWHERE = 0.5
_NOISE = 8
"""So many values follow each other on a channel that is no state."""


def usual_value(item: str, number: int) -> float:
    """The value of an item's update of that number: cabin air, arrays in the Sun, states that stay."""
    if item in _STATES:
        return 1.0
    return _USUAL.get(item, _ELSEWHERE) + number % _NOISE / 100


def store_hours_before(connection: psycopg.Connection, quiet: frozenset[str]) -> None:
    """Readings of `HOURS_BEFORE`, one a second on each channel that a detector reads, but for states and what
    is to be quiet."""
    detectors = detectors_by_settings({})
    chatty = {item for detector in detectors for item in detector.items} - _STATES - quiet
    connection.execute("SELECT create_telemetry_chunks(now() - %(before)s, now())", {"before": HOURS_BEFORE})
    connection.execute(
        _STORE,
        {
            "items": sorted(chatty),
            "values": [usual_value(item, 0) for item in sorted(chatty)],
            "before": HOURS_BEFORE,
            "noise": _NOISE,
        },
    )


_STATES = frozenset(item for detector in detectors_by_settings({}) for item in state_items(detector))
_STORE = """
WITH stored AS (
    INSERT INTO telemetry_reading
    SELECT c.channel_id, s.ts, s.ts, v.value, v.value::text, 24, false,
        hashtextextended(s.ts::text || v.value::text, 0)
    FROM unnest(%(items)s::text[], %(values)s::float8[]) AS usual (item, value)
    JOIN telemetry_channel c ON c.item_id = usual.item
    CROSS JOIN generate_series(now() - %(before)s, now() - interval '1 minute', interval '1 second') AS s (ts)
    CROSS JOIN LATERAL (
        SELECT usual.value + extract(epoch FROM s.ts)::bigint %% %(noise)s / 100.0 AS value
    ) AS v
    ON CONFLICT DO NOTHING RETURNING ts
)
INSERT INTO telemetry_revision AS t (hour, revision, readings)
SELECT date_trunc('hour', ts, 'UTC'), count(*), count(*) FROM stored GROUP BY 1 ORDER BY 1
ON CONFLICT (hour) DO UPDATE SET revision = t.revision + excluded.revision,
    readings = t.readings + excluded.readings, updated_at = clock_timestamp()
"""
