"""What `peebot status` says of the feed and of the ingest daemon."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from ingest_daemon.endpoint import Endpoint
from ingest_daemon.health import Health
from ingest_daemon.metrics import Metrics
from peebot_local.embedded_postgres import free_port
from peebot_local.status import read_status

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def link(connection: psycopg.Connection, source: str, state: str, age_s: float) -> None:
    seen = NOW - age_s * SECOND
    connection.execute(
        "INSERT INTO link_interval (source, state, started_at, last_seen_at) VALUES (%s, %s, %s, %s)",
        (source, state, seen - SECOND, seen),
    )


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def endpoint(metrics: Metrics) -> Iterator[Endpoint]:
    endpoint = Endpoint(0, metrics, Health(time.monotonic()))
    yield endpoint
    endpoint.close()


def test_of_several_daemons_the_best_state_that_is_confirmed_counts(connection: psycopg.Connection) -> None:
    link(connection, "isslive/a", "DOWN", 0)
    link(connection, "isslive/b", "LOS", 1)
    assert read_status(connection, NOW, "").feed == "LOS"
    link(connection, "isslive/c", "LIVE", 2)
    assert read_status(connection, NOW, "").feed == "LIVE"


def test_a_daemon_that_is_gone_or_only_replays_does_not_make_the_feed_live(
    connection: psycopg.Connection,
) -> None:
    link(connection, "isslive/a", "LIVE", 10)
    link(connection, "replay", "LIVE", 0)
    link(connection, "replay/x", "LIVE", 0)
    assert read_status(connection, NOW, "").feed == "DOWN"


def test_what_waits_in_the_daemon_is_told(
    connection: psycopg.Connection, metrics: Metrics, endpoint: Endpoint
) -> None:
    metrics.spool_readings.set(1_234_567)
    metrics.queue_depth.set(42)
    url = f"{endpoint.url}/metrics"
    status = read_status(connection, NOW, "", metrics_url=url)
    assert (status.spool_readings, status.queue_depth, status.metrics_url) == (1_234_567, 42, url)


def test_a_daemon_that_does_not_answer_leaves_the_figures_unknown(connection: psycopg.Connection) -> None:
    status = read_status(connection, NOW, "", metrics_url=f"http://127.0.0.1:{free_port()}/metrics")
    assert (status.spool_readings, status.queue_depth) == (None, None)
    assert read_status(connection, NOW, "").metrics_url is None


def test_somebody_else_on_the_port_is_not_taken_for_the_daemon(
    connection: psycopg.Connection, endpoint: Endpoint
) -> None:
    status = read_status(connection, NOW, "", metrics_url=f"{endpoint.url}/other")
    assert (status.spool_readings, status.queue_depth) == (None, None)
