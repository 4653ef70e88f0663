"""What `status` tells while the database is away: what the ingest daemon says of itself."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from ingest_daemon.link import LinkState
from ingest_daemon.metrics import Metrics
from peebot_dagster.ingest_metrics import IngestDepths, read_depths
from peebot_local.cli import main
from peebot_local.daemon_status import describe_spool, read_daemon_status

NOWHERE = "postgresql://peebot:s3cret@127.0.0.1:1/peebot"


@pytest.fixture
def metrics() -> Metrics:
    """Of a daemon whose spool is full."""
    metrics = Metrics()
    metrics.feed_state(LinkState.LIVE)
    metrics.spool_readings.set(12_345)
    metrics.spool_bytes.set(7_000_000)
    metrics.spool_limit_bytes.set(8_000_000)
    metrics.spool_full.set(1)
    metrics.queue_depth.set(400)
    metrics.queue_limit.set(400)
    return metrics


@pytest.fixture
def port(metrics: Metrics) -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(metrics.exposition())

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield server.server_port
        server.shutdown()


@pytest.fixture
def away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    for name in list(os.environ):
        if name.startswith("PEEBOT_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PEEBOT_HOME", str(tmp_path))
    monkeypatch.setenv("PEEBOT_DATABASE_URL", NOWHERE)
    monkeypatch.setenv("PEEBOT_METRICS_PORT", str(port))
    monkeypatch.chdir(tmp_path)


def peebot(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> object:
    monkeypatch.setattr(sys, "argv", ["peebot", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code


@pytest.mark.usefixtures("away")
def test_with_the_database_away_status_tells_what_the_daemon_says_and_still_fails(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert peebot(monkeypatch, "status", "--json") == 1
    out, err = capfd.readouterr()
    told = json.loads(out)
    assert (told["feed"], told["spool_readings"], told["spool_full"]) == ("LIVE", 12_345, True)
    assert told["spool"].startswith("spool full: reading has stopped")
    assert "cannot reach the database" in told["database"]
    assert "cannot reach the database" in err
    assert "s3cret" not in out + err


@pytest.mark.usefixtures("away")
def test_the_same_is_shown_to_people(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert peebot(monkeypatch, "status") == 1
    out = " ".join(capfd.readouterr().out.split())
    assert "LIVE signal acquired" in out
    assert "spool full: reading has stopped" in out
    assert "12,345 updates wait on disk" in out


def test_without_a_daemon_status_tells_only_that_the_database_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for name, value in {"HOME": str(tmp_path), "DATABASE_URL": NOWHERE, "METRICS_PORT": "1"}.items():
        monkeypatch.setenv(f"PEEBOT_{name}", value)
    assert peebot(monkeypatch, "status", "--json") == 1
    out, err = capfd.readouterr()
    assert out == ""
    assert "cannot reach the database" in err


def test_what_memory_could_not_hold_is_counted(metrics: Metrics, port: int) -> None:
    metrics.rejected("queue_overflow", 41)
    metrics.rejected("value_missing", 7)
    told = read_daemon_status(f"http://127.0.0.1:{port}/metrics", "away", "/somewhere")
    assert told is not None
    assert told.lost == 41
    assert told.spool.startswith("spool full: the oldest are dropped, 41 since the start")


def test_a_daemon_that_does_not_know_its_link_yet_tells_no_state(port: int, metrics: Metrics) -> None:
    for state in LinkState:
        metrics._feed_state.labels(state).set(0)
    assert read_depths(f"http://127.0.0.1:{port}/metrics").feed is None


@pytest.mark.parametrize(
    ("depths", "text"),
    [
        (
            IngestDepths(7, 3, 400, 2_000_000, 512_000_000, spool_full=False),
            "7 updates wait on disk, 3 in memory; 2.0 of 512 MB",
        ),
        (
            IngestDepths(7, 3, 400, spool_full=True),
            "spool full: what comes stays in memory; 7 updates wait on disk, 3 in memory",
        ),
        (
            IngestDepths(7, 400, 400, spool_full=True),
            "spool full: reading has stopped; 7 updates wait on disk, 400 in memory",
        ),
        # What was lost once, before the spool had room again, is over.
        (IngestDepths(7, 3, 400, spool_full=False, lost=9), "7 updates wait on disk, 3 in memory"),
    ],
)
def test_what_becomes_of_what_comes_is_said_in_a_few_words(depths: IngestDepths, text: str) -> None:
    assert describe_spool(depths) == text
