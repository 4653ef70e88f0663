"""Every detector through the real store: in pieces, some of them late, it finds what one backfill finds."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pandas as pd
import psycopg
import pytest

from evaluation.simulated import simulated_window
from peebot_dagster.detection import detect_span, stale_hours
from peebot_dagster.detectors.detector import Window
from peebot_dagster.detectors.registry import DETECTORS
from peebot_dagster.store import contiguous_spans

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

SINCE = datetime(2025, 12, 31, tzinfo=UTC)
DAYS = 2.0
PIECES = 16
LATE_SHARE = 0.2

_STORE = """
WITH stored AS (
    INSERT INTO telemetry_reading
        (channel_id, ts, received_at, value, raw_value, status_class, is_snapshot, event_id)
    SELECT c.channel_id, r.ts, r.ts, r.value, r.value::text, r.status_class, false,
           hashtextextended(concat_ws(' ', r.ts, r.value, r.status_class), 0)
    FROM unnest(%s::timestamptz[], %s::text[], %s::float8[], %s::smallint[])
        AS r (ts, item, value, status_class)
    JOIN telemetry_channel c ON c.item_id = r.item
    ON CONFLICT DO NOTHING RETURNING ts
)
INSERT INTO telemetry_revision AS t (hour, revision, readings)
SELECT date_trunc('hour', ts, 'UTC'), count(*), count(*) FROM stored GROUP BY 1
ON CONFLICT (hour) DO UPDATE SET revision = t.revision + excluded.revision,
    readings = t.readings + excluded.readings
"""


def store(connection: psycopg.Connection, readings: pd.DataFrame) -> None:
    if readings.empty:
        return
    times = [ts.to_pydatetime() for ts in readings["ts"]]
    connection.execute("SELECT create_telemetry_chunks(%s, %s)", (min(times), max(times)))
    values = (
        times,
        list(readings["item"]),
        list(readings["value"]),
        [int(c) for c in readings["status_class"]],
    )
    connection.execute(_STORE, values)


def tell_link(connection: psycopg.Connection, window: Window, watermark: datetime) -> None:
    """The link as it is known at the watermark."""
    stretches = [("LIVE", part.start, part.end) for part in window.live or ()]
    stretches += [("LOS", part.start, part.end) for part in window.lost or ()]
    connection.execute("DELETE FROM link_interval")
    for state, start, end in sorted(stretches, key=lambda stretch: stretch[1]):
        if start >= watermark:
            break
        is_over = end <= watermark
        connection.execute(
            "INSERT INTO link_interval (source, state, started_at, last_seen_at, ended_at)"
            " VALUES ('replay', %s, %s, %s, %s)",
            (state, start, min(end, watermark), end if is_over else None),
        )


def events(connection: psycopg.Connection) -> list[tuple[Any, ...]]:
    return connection.execute(
        "SELECT event_id, event_type, started_at, ended_at, state, confidence, payload FROM detected_event"
        " WHERE state <> 'retracted' ORDER BY started_at, event_id"
    ).fetchall()


@pytest.mark.parametrize("name", DETECTORS)
def test_in_pieces_of_which_some_come_late_every_detector_finds_what_a_backfill_finds(
    connection: psycopg.Connection, name: str
) -> None:
    detector = DETECTORS[name]
    chance = random.Random(name)
    window, _ = simulated_window(detector.items, 3, SINCE, DAYS)
    seconds = DAYS * 86400
    cuts = sorted(SINCE + timedelta(seconds=chance.uniform(0, seconds)) for _ in range(PIECES - 1))
    borders = [SINCE, *cuts, window.end]
    late: list[pd.DataFrame] = []

    def detect() -> None:
        for start, end in contiguous_spans(stale_hours(connection, name)):
            detect_span(connection, detector, start, end)

    for start, end in pairwise(borders):
        piece = window.readings[(window.readings["ts"] >= start) & (window.readings["ts"] < end)]
        tell_link(connection, window, end)
        if chance.random() < LATE_SHARE:
            late.append(piece)
        else:
            store(connection, piece.sample(frac=1, random_state=chance.randrange(2**31)))
        detect()
        if late and chance.random() < 0.3:
            store(connection, late.pop(chance.randrange(len(late))))
            detect()
    for piece in late:
        store(connection, piece)
        detect()
    streamed = events(connection)

    connection.execute("DELETE FROM detected_event")
    detect_span(connection, detector, SINCE, window.end)
    assert streamed == events(connection)
    if name not in ("airlock", "attitude"):
        assert streamed, "two days without any event try nothing"
