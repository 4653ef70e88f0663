"""The real detector through the real store: the live sensor's events are those of a backfill."""

from __future__ import annotations

import csv
import gzip
import os
import random
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from peebot_dagster.detection import detect_span, stale_hours
from peebot_dagster.detectors.urine_tank import UrineTankDetector
from peebot_dagster.store import contiguous_spans

StoreReadings = Callable[[Sequence[tuple[datetime, float]]], None]

RECORDINGS = Path(os.environ.get("PEEBOT_RECORDINGS", Path(__file__).parents[4] / "shared" / "data"))
RECORDING = RECORDINGS / "urine_tank_2024-12-26_2025-01-29.csv.gz"

FROM = datetime(2025, 1, 3, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def two_days() -> list[tuple[datetime, float]]:
    if not RECORDING.exists():
        pytest.skip(f"the recording {RECORDING.name} is not here (PEEBOT_RECORDINGS)")
    with gzip.open(RECORDING, "rt") as lines:
        readings = [
            (datetime.fromisoformat(row["ts_utc"]).replace(tzinfo=UTC), float(row["value"]))
            for row in csv.DictReader(lines)
        ]
    return [reading for reading in readings if FROM <= reading[0] < FROM + 48 * HOUR]


def events(connection: psycopg.Connection) -> list[tuple[Any, ...]]:
    return connection.execute(
        "SELECT event_id, event_type, started_at, ended_at, state, confidence, payload FROM detected_event"
        " WHERE state <> 'retracted' ORDER BY started_at"
    ).fetchall()


@pytest.mark.parametrize("seed", [1, 2])
def test_two_real_days_streamed_in_random_pieces_give_the_events_of_one_backfill(
    connection: psycopg.Connection,
    store_readings: StoreReadings,
    two_days: list[tuple[datetime, float]],
    seed: int,
) -> None:
    detector = UrineTankDetector()
    source = random.Random(seed)
    rest = list(two_days)
    link = "UPDATE link_interval SET last_seen_at = %s"
    connection.execute(
        "INSERT INTO link_interval (source, state, started_at, last_seen_at)"
        " VALUES ('replay', 'LIVE', %s, %s)",
        (rest[0][0], rest[0][0]),
    )
    while rest:
        size = source.randrange(1, 120)
        piece, rest = rest[:size], rest[size:]
        connection.execute(link, (piece[-1][0],))
        store_readings(piece)
        for start, end in contiguous_spans(stale_hours(connection, detector.name)):
            detect_span(connection, detector, start, end)
    streamed = events(connection)

    connection.execute("DELETE FROM detected_event")
    detect_span(connection, detector, FROM, FROM + 48 * HOUR)

    assert sum(row[1] == "toilet_visit" for row in streamed) > 20
    assert streamed == events(connection)
