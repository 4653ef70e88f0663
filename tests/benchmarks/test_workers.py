"""`peebot bench workers`: through a real Redis and a real worker, on an hour of telemetry."""

from __future__ import annotations

import os
import shutil

import pytest

from benchmarks.workers import columns, main, with_speed_up
from peebot_local.backfill import backfilled_assets
from tests.benchmarks.conftest import Bench


def test_workers_that_would_have_nothing_to_do_are_not_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["workers", "--days", "1.5", "--workers", "1", "4"])
    assert main() == 1
    assert "give as many --days as workers" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("workers", "told"), [((1, 4), "to 1 worker"), ((2, 4), "to 2 workers"), ((4, 1), "to 4 workers")]
)
def test_the_table_says_to_which_number_of_workers_it_compares(workers: tuple[int, int], told: str) -> None:
    measured = with_speed_up(
        [
            {"workers": count, "partitions_per_s": rate}
            for count, rate in zip(workers, (8.0, 12.0), strict=True)
        ]
    )
    assert columns(measured)[-1] == told
    assert [each["speed_up"] for each in measured] == [1.0, 1.5]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_bench_workers_tells_the_partitions_a_second_of_each_number_of_workers(bench: Bench) -> None:
    if shutil.which("redis-server") is None:
        assert "PEEBOT_REQUIRE_REDIS" not in os.environ, "redis-server is not installed"
        pytest.skip("redis-server is not installed")
    result = bench("workers", "--days", "0.04", "--workers", "1", timeout_s=900)
    (measured,) = result["workers"]
    assert measured["workers"] == measured["speed_up"] == 1
    assert measured["partitions"] == len(backfilled_assets())
    assert measured["runs"] == 1
    assert measured["partitions_per_s"] == pytest.approx(
        measured["partitions"] / measured["seconds"], rel=0.01
    )
