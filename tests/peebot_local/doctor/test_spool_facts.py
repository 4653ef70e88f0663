"""What the doctor gathers of the spool."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from peebot_local.doctor.spool_facts import metrics_url_of, spool_facts
from peebot_local.settings import Settings


@pytest.mark.parametrize(
    ("host", "asked"),
    [
        (None, "127.0.0.1"),
        ("", "127.0.0.1"),
        ("10.0.0.7", "10.0.0.7"),
        ("0.0.0.0", "127.0.0.1"),  # noqa: S104
        ("::", "[::1]"),
        ("fd00::7", "[fd00::7]"),
        ("ingest.internal", "ingest.internal"),
    ],
)
def test_the_daemon_is_asked_where_its_metrics_listen(host: str | None, asked: str) -> None:
    assert metrics_url_of(host, None) == f"http://{asked}:9473/metrics"
    assert metrics_url_of(host, 9200) == f"http://{asked}:9200/metrics"


def test_a_spool_is_found_where_each_kind_of_daemon_has_it(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, metrics_port=1)
    assert spool_facts(settings, {}).seen == []
    elsewhere = tmp_path / "elsewhere"
    for folder in (tmp_path / "ingest" / "spool", tmp_path / "spool", elsewhere):
        (folder / "iss").mkdir(parents=True)
        (folder / "iss" / "1.spool").write_bytes(bytes(500_000))
    facts = spool_facts(settings, {})
    assert facts.seen == [tmp_path / "spool", tmp_path / "ingest" / "spool"]
    assert (facts.readings, facts.files_mb) == (None, 1.0)
    given = spool_facts(settings, {"PEEBOT_SPOOL": str(elsewhere)})
    assert (given.seen, given.files_mb) == ([elsewhere], 0.5)


def test_a_daemon_that_listens_everywhere_tells_what_waits(tmp_path: Path) -> None:
    class Metrics(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"peebot_spool_readings 42.0\n")

    with ThreadingHTTPServer(("127.0.0.1", 0), Metrics) as server:
        Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        settings = Settings(home=tmp_path, metrics_port=server.server_port)
        facts = spool_facts(settings, {"PEEBOT_METRICS_HOST": "0.0.0.0"})  # noqa: S104
        server.shutdown()
    assert (facts.readings, facts.metrics_url) == (42, f"http://127.0.0.1:{server.server_port}/metrics")
    elsewhere = spool_facts(settings, {"PEEBOT_METRICS_HOST": "localhost"})
    assert (elsewhere.readings, elsewhere.metrics_url.split(":")[1]) == (None, "//localhost")
