"""`peebot bench backfill`: the promised figures, through a real Dagster, on three hours of telemetry."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from benchmarks.harness.backfill_run import covered_seconds
from benchmarks.harness.history import build_history
from peebot_dagster.detectors.registry import DETECTORS
from tests.benchmarks.conftest import Bench

NOON = datetime(2025, 1, 1, 12, tzinfo=UTC)


def test_time_in_which_two_steps_ran_at_once_counts_once() -> None:
    def stretch(start_s: int, end_s: int) -> tuple[datetime, datetime]:
        return NOON + timedelta(seconds=start_s), NOON + timedelta(seconds=end_s)

    assert covered_seconds([]) == 0
    assert covered_seconds([stretch(5, 7), stretch(0, 2)]) == 4
    assert covered_seconds([stretch(0, 4), stretch(1, 3), stretch(2, 6)]) == 6


def test_the_history_mixes_the_simulated_channels_in_and_repeats_them(connection: psycopg.Connection) -> None:
    connection.autocommit = True
    volume = build_history(connection, 1 / 8, 1e12, 7, lambda _: None, period=timedelta(hours=1))
    watched = list({item for detector in DETECTORS.values() for item in detector.items})
    hours = connection.execute(
        "SELECT date_trunc('hour', ts, 'UTC'), count(*) FILTER (WHERE item_id = ANY (%s)), count(*)"
        " FROM telemetry_reading JOIN telemetry_channel USING (channel_id) GROUP BY 1 ORDER BY 1",
        (watched,),
    ).fetchall()
    assert [hour for hour, _, _ in hours] == [volume.start + timedelta(hours=i) for i in range(3)]
    assert hours[0][1] > 0
    assert {(simulated, every) for _, simulated, every in hours} == {hours[0][1:]}, "each hour the same"
    assert all(every - simulated == 7 * 3600 for _, simulated, every in hours)
    revisions = connection.execute("SELECT hour FROM telemetry_revision ORDER BY hour").fetchall()
    assert [hour for (hour,) in revisions] == [hour for hour, _, _ in hours]


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_bench_backfill_delivers_what_architecture_md_promises(bench: Bench) -> None:
    result = bench("backfill", "--days", "0.125", "--rate", "7", timeout_s=1200)
    assert result["rows"] > 3 * 3600 * 7
    assert result["seconds"] > 0
    assert result["bare_sql_seconds"] > 0
    assert result["ratio"] == pytest.approx(result["seconds"] / result["bare_sql_seconds"], rel=0.01)
    assert result["detector_seconds"] > 0
    assert result["detector_seconds_each"].keys() == {f"{name}_events" for name in DETECTORS}
    assert result["dagster_database_bytes"] >= 0
