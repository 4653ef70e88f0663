"""`peebot bench ingest`: the promised figures, from the command line, on tiny loads."""

from __future__ import annotations

import pytest

from tests.benchmarks.conftest import Bench

PROMISED = {"rate_per_s", "lost", "doubled", "p50_ms", "p99_ms", "cpu_us_per_msg", "peak_rss_mb"}


@pytest.mark.slow
def test_bench_ingest_delivers_what_architecture_md_promises_and_loses_nothing(bench: Bench) -> None:
    result = bench(
        "ingest", "--seconds", "1", "--in-flight", "2000", "--fast-rate", "500", "--peer-seconds", "0.1"
    )
    for feed in ("official", "tlcp"):
        assert result[feed].keys() >= PROMISED
        assert (result[feed]["lost"], result[feed]["doubled"]) == (0, 0)
        assert result[feed]["checksums_match"]
        assert result[feed]["rate_per_s"] > 0
        assert result[feed]["p50_ms"] <= result[feed]["p99_ms"]
    assert result["tlcp"]["runs"].keys() == {"sustained", "feed", "fast"}
    assert result["peers"].keys() == {"insert_per_message", "executemany"}
    assert result["limit"].keys() == {"copy_of_ready_rows", "writer_of_ready_readings"}


@pytest.mark.slow
def test_a_paced_run_on_a_server_of_its_own_stores_each_update(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PEEBOT_DATABASE_URL")
    result = bench(
        "ingest",
        "--seconds",
        "1",
        "--feeds",
        "tlcp",
        "--rate",
        "300",
        "--fast-rate",
        "500",
        "--peer-seconds",
        "0.1",
    )
    assert result["tlcp"]["runs"]["sustained"]["comparison"] == {
        "sent": 300, "stored": 300, "lost": 0, "doubled": 0, "is_same": True, "rejected": {}
    }  # fmt: skip
    assert "official" not in result
