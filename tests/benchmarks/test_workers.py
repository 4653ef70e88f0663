"""`peebot bench workers`: through a real Redis and a real worker, on an hour of telemetry."""

from __future__ import annotations

import os
import shutil

import pytest

from benchmarks.workers import main
from peebot_local.backfill import backfilled_assets
from tests.benchmarks.conftest import Bench


def test_workers_that_would_have_nothing_to_do_are_not_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["workers", "--days", "1.5", "--workers", "1", "4"])
    assert main() == 1
    assert "give as many --days as workers" in capsys.readouterr().err


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
