"""`peebot bench store`: the promised figures, from the command line, on a quarter of an hour of telemetry."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

import psycopg
import pytest

from benchmarks.harness.volume import BUSY_CHANNELS, RATE_PER_S, build
from benchmarks.harness.windows import measure_windows
from tests.benchmarks.conftest import Bench
from tests.conftest import Server


def test_the_volume_has_the_station_s_rate_in_order_of_time_on_all_channels(
    connection: psycopg.Connection,
) -> None:
    volume = build(connection, 600 / 86_400, 1e12, lambda _: None)
    rows = connection.execute("SELECT channel_id, ts, value, raw_value FROM telemetry_reading").fetchall()
    assert volume.rows == len(rows) == 600 * RATE_PER_S
    assert [row[1] for row in rows] == sorted(row[1] for row in rows)
    assert (rows[0][1], rows[-1][1]) == (volume.start, volume.end - timedelta(milliseconds=15))
    assert all(float(raw_value) == value for _, _, value, raw_value in rows)
    per_channel = Counter(row[0] for row in rows)
    assert per_channel.keys() == set(volume.channels)
    assert [per_channel[channel] for channel in volume.channels[:BUSY_CHANNELS]] == [600] * BUSY_CHANNELS


def test_the_volume_ends_when_the_database_is_as_big_as_allowed(connection: psycopg.Connection) -> None:
    assert build(connection, 1, 0, lambda _: None).rows == 0


def test_windows_hold_ten_minutes_and_the_reading_before(connection: psycopg.Connection) -> None:
    volume = build(connection, 1800 / 86_400, 1e12, lambda _: None)
    times = measure_windows(connection, volume, 20)
    assert 1 < times.rows <= 601
    assert 0 < times.p50 <= times.p99


@pytest.mark.slow
def test_bench_store_delivers_what_architecture_md_promises(bench: Bench) -> None:
    result = bench("store", "--days", "0.01", "--windows", "50")
    assert result["rows"] == 864 * RATE_PER_S
    assert 80 < result["bytes_per_row"] < 300
    assert result["bytes_per_row_compressed"] is None
    assert 0 < result["window_ms"]["p50"] <= result["window_ms"]["p99"]


@pytest.mark.slow
def test_bench_store_tells_the_bytes_before_and_after_compression_where_there_is_one(
    bench: Bench, community_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PEEBOT_DATABASE_URL", community_server.url("bench_store"))
    result = bench("store", "--in-place", "--days", "0.01", "--windows", "5")
    assert result["bytes_per_row"] > 2 * result["bytes_per_row_compressed"] > 0
    assert result["window_ms_compressed"]["rows"] == result["window_ms"]["rows"]
