"""What the daemon's metrics promise to whoever scrapes them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from prometheus_client.parser import text_string_to_metric_families

from ingest_daemon.link import LinkState
from ingest_daemon.metrics import Metrics

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


def scraped(metrics: Metrics) -> dict[str, float]:
    """Sample name (with its label's value) to value, as Prometheus would read it."""
    return {
        ".".join([sample.name, *sample.labels.values()]): sample.value
        for family in text_string_to_metric_families(metrics.exposition().decode())
        for sample in family.samples
    }


def test_every_metric_of_the_contract_is_there_before_anything_happens() -> None:
    names = {name.split(".")[0] for name in scraped(Metrics())}
    assert names >= {
        "peebot_received_total", "peebot_stored_total", "peebot_duplicates_total", "peebot_queue_depth",
        "peebot_spool_readings", "peebot_spool_bytes", "peebot_event_lag_seconds",
        "peebot_receive_lag_seconds", "peebot_feed_state", "peebot_reconnects_total",
        "peebot_client_lag_seconds",
        "peebot_spool_limit_bytes", "peebot_spool_full", "peebot_queue_limit",
        "peebot_copy_seconds_count", "peebot_copy_seconds_bucket", "process_resident_memory_bytes",
    }  # fmt: skip


def test_rejections_are_counted_by_reason() -> None:
    metrics = Metrics()
    metrics.rejected("value_missing")
    metrics.rejected("queue_overflow", 41)
    metrics.rejected("value_missing")
    samples = scraped(metrics)
    assert samples["peebot_rejected_total.value_missing"] == 2
    assert samples["peebot_rejected_total.queue_overflow"] == 41


def test_losses_are_zero_before_the_first_so_that_it_is_an_increase() -> None:
    samples = scraped(Metrics())
    assert samples["peebot_rejected_total.client_overflow"] == 0
    assert samples["peebot_rejected_total.queue_overflow"] == 0


def test_exactly_one_state_of_the_feed_is_set_once_it_is_known() -> None:
    metrics = Metrics()
    states = [f"peebot_feed_state.{state}" for state in LinkState]
    assert [scraped(metrics)[state] for state in states] == [0, 0, 0]
    metrics.feed_state(LinkState.LIVE)
    metrics.feed_state(LinkState.LOS)
    assert [scraped(metrics)[state] for state in states] == [0, 1, 0]


def test_the_lags_grow_with_the_clock_until_something_newer_is_committed() -> None:
    now = [NOON]
    metrics = Metrics(lambda: now[0])
    assert str(scraped(metrics)["peebot_event_lag_seconds"]) == "nan"
    metrics.committed(NOON - timedelta(seconds=3), NOON - timedelta(seconds=1))
    now[0] = NOON + timedelta(seconds=10)
    metrics.committed(NOON - timedelta(seconds=30), NOON - timedelta(seconds=20))
    samples = scraped(metrics)
    assert samples["peebot_event_lag_seconds"] == 13
    assert samples["peebot_receive_lag_seconds"] == 11


def test_two_daemons_in_one_process_do_not_share_their_counts() -> None:
    one, other = Metrics(), Metrics()
    one.received.inc(7)
    assert scraped(one)["peebot_received_total"] == 7
    assert scraped(other)["peebot_received_total"] == 0
