"""/metrics and /healthz over real HTTP."""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Iterator

import psutil
import pytest

from ingest_daemon.endpoint import Endpoint, PatientEndpoint
from ingest_daemon.health import Beat, Health
from ingest_daemon.link import LinkState
from ingest_daemon.metrics import Metrics


def ask(url: str, path: str, method: str = "GET") -> tuple[int, str, str]:
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=60)
    connection.request(method, path)
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    return answer.status, answer.headers["Content-Type"], body


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def health() -> Health:
    return Health(time.monotonic())


@pytest.fixture
def endpoint(metrics: Metrics, health: Health) -> Iterator[Endpoint]:
    endpoint = Endpoint(0, metrics, health)
    yield endpoint
    endpoint.close()


def test_metrics_come_in_the_format_that_prometheus_reads(endpoint: Endpoint, metrics: Metrics) -> None:
    metrics.stored.inc(12)
    status, content_type, body = ask(endpoint.url, "/metrics")
    assert (status, content_type.split(";")[0]) == (200, "text/plain")
    assert "version=0.0.4" in content_type
    assert "\npeebot_stored_total 12.0\n" in body


@pytest.mark.parametrize("host", ["127.0.0.2", "::1"])
def test_it_answers_where_it_is_told_to_and_nowhere_else(host: str, metrics: Metrics, health: Health) -> None:
    endpoint = Endpoint(0, metrics, health, host)
    try:
        assert ask(endpoint.url, "/metrics")[0] == 200
        port = endpoint.url.rpartition(":")[2]
        with pytest.raises(ConnectionRefusedError):
            ask(f"http://127.0.0.1:{port}", "/metrics")
    finally:
        endpoint.close()


def test_health_is_200_when_ready_and_503_with_one_line_that_says_why_when_not(
    endpoint: Endpoint, health: Health
) -> None:
    status, content_type, body = ask(endpoint.url, "/healthz")
    assert (status, content_type) == (503, "application/json")
    assert body.count("\n") == 1
    assert json.loads(body)["why"].startswith("starting")
    now = time.monotonic()
    health.beat(Beat(now, LinkState.LIVE, now, None))
    status, _, body = ask(endpoint.url, "/healthz")
    assert (status, json.loads(body)["ready"]) == (200, True)


def test_anything_else_is_not_found_and_nothing_can_be_changed(endpoint: Endpoint) -> None:
    assert ask(endpoint.url, "/")[0] == 404
    assert ask(endpoint.url, "/metrics/../etc/passwd")[0] == 404
    assert ask(endpoint.url, "/metrics", "POST")[0] == 501
    assert ask(endpoint.url, "/metrics", "HEAD")[::2] == (200, "")


def test_a_client_that_says_nothing_holds_up_no_other(endpoint: Endpoint) -> None:
    host, port = endpoint.url.removeprefix("http://").split(":")
    silent = [socket.create_connection((host, int(port))) for _ in range(20)]
    assert ask(endpoint.url, "/metrics")[0] == 200
    for connection in silent:
        connection.close()


def test_only_the_machine_itself_can_ask(endpoint: Endpoint) -> None:
    port = int(endpoint.url.rpartition(":")[2])
    listening = [
        connection.laddr.ip
        for connection in psutil.Process().net_connections("inet")
        if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port
    ]
    assert listening == ["127.0.0.1"]


def test_a_port_that_is_taken_is_had_once_it_is_free(
    endpoint: Endpoint, metrics: Metrics, health: Health
) -> None:
    metrics.received.inc(7)
    patient = PatientEndpoint(int(endpoint.url.rpartition(":")[2]), metrics, health, retry_s=0.01)
    endpoint.close()
    patient._thread.join(timeout=60)
    assert "peebot_received_total 7.0" in ask(endpoint.url, "/metrics")[2]
    patient.close()
    with pytest.raises(OSError, match="refused"):
        ask(endpoint.url, "/metrics")


def test_who_waits_for_a_port_can_be_closed(endpoint: Endpoint, metrics: Metrics, health: Health) -> None:
    patient = PatientEndpoint(int(endpoint.url.rpartition(":")[2]), metrics, health, retry_s=3600.0)
    patient.close()


def test_a_port_that_is_taken_is_an_error(endpoint: Endpoint, metrics: Metrics, health: Health) -> None:
    with pytest.raises(OSError, match="in use"):
        Endpoint(int(endpoint.url.rpartition(":")[2]), metrics, health)


def test_after_close_nobody_answers(metrics: Metrics, health: Health) -> None:
    endpoint = Endpoint(0, metrics, health)
    endpoint.close()
    with pytest.raises(ConnectionRefusedError):
        ask(endpoint.url, "/metrics")
