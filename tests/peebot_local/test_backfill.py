"""What `peebot backfill` says when Dagster will not."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from rich.console import Console

from peebot_local.backfill import run_backfill
from peebot_local.dagster_api import DagsterApi
from peebot_local.embedded_postgres import free_port
from peebot_local.errors import MendableError
from peebot_local.partitions import first_partition

FIRST = datetime(2026, 5, 1, 6, tzinfo=UTC)


@pytest.fixture
def webserver() -> Iterator[Callable[[bytes], str]]:
    """A webserver that answers each request with HTTP 500 and this body."""
    with ExitStack() as stack:
        yield lambda body: stack.enter_context(_failing(body))


@contextmanager
def _failing(body: bytes) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(500)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_span_before_the_first_partition_names_it_and_the_variable() -> None:
    with pytest.raises(MendableError, match=r"2026-05-01 06:00 UTC.*PEEBOT_PARTITIONS_START"):
        run_backfill("http://127.0.0.1:1", FIRST.replace(hour=5), FIRST.replace(hour=9), FIRST, Console())


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'{"errors": [{"message": "no such partition\\nand more"}]}', "HTTP 500: no such partition"),
        (b"Internal Server Error\n", "HTTP 500: Internal Server Error"),
        (b"", "HTTP 500: Internal Server Error"),
        (b"[1]", "HTTP 500: "),
    ],
)
def test_a_webserver_that_refuses_is_not_said_to_be_away(
    webserver: Callable[[bytes], str], body: bytes, reason: str
) -> None:
    with pytest.raises(MendableError) as failure:
        DagsterApi(webserver(body)).launch_backfill(["a"], FIRST, FIRST.replace(hour=7), "title")
    assert reason in str(failure.value)
    assert "does not answer" not in str(failure.value)
    assert "\n" not in str(failure.value)


def test_a_webserver_that_is_away_is_said_to_be() -> None:
    with pytest.raises(MendableError, match="does not answer"):
        DagsterApi(f"http://127.0.0.1:{free_port()}").backfill_state("x")


def test_dagsters_first_hour_is_that_of_its_environment_or_its_default() -> None:
    assert first_partition({"PEEBOT_PARTITIONS_START": "2026-05-01-06:00"}) == FIRST
    assert first_partition({}) == datetime(2024, 1, 1, tzinfo=UTC)
    with pytest.raises(MendableError, match="write it as in 2024-01-01-00:00"):
        first_partition({"PEEBOT_PARTITIONS_START": "May"})
