"""What `peebot backfill` asks of Dagster, and what it says."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from io import StringIO
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from rich.console import Console

from peebot_dagster.detectors.urine_tank import UrineTankDetector
from peebot_local.backfill import TextProgress, backfilled_assets, require_same_dagster, run_backfill
from peebot_local.dagster_api import BackfillState, DagsterApi
from peebot_local.database import dagster_database, migrate_databases
from peebot_local.embedded_postgres import free_port
from peebot_local.errors import MendableError
from peebot_local.partitions import first_partition

FIRST = datetime(2026, 5, 1, 6, tzinfo=UTC)
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who follows a backfill looks again at once."""
    monkeypatch.setattr("peebot_local.backfill._POLL_S", 0.02)
    monkeypatch.setattr("peebot_local.dagster_api._DEFINITIONS_POLL_S", 0.02)


@pytest.fixture
def webserver() -> Iterator[Callable[[bytes], str]]:
    """A webserver that answers each request with HTTP 500 and this body."""
    with ExitStack() as stack:
        yield lambda body: stack.enter_context(_failing(body))


@dataclass
class FakeDagster:
    """Dagster's webserver: one backfill that was launched before, and what it is asked to do."""

    status: str
    tags: list[dict[str, str]] = field(default_factory=list)
    assets: list[str] = field(default_factory=backfilled_assets)
    left: bool = True
    loaded: bool = True
    ended_at: datetime | None = NOW
    asked: list[str] = field(default_factory=list)
    polls: int = 0

    def answer(self, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        name = query.split()[1].partition("(")[0]
        if name not in ("State", "Known"):
            self.asked.append(name)
        match name:
            case "Known":
                keys = variables["assets"] if self.loaded else []
                return {"assetNodes": [{"assetKey": key} for key in keys]}
            case "Reload":
                self.loaded = True
                return {"reloadRepositoryLocation": {"__typename": "WorkspaceLocationEntry"}}
            case "Latest":
                known = {
                    "id": "before",
                    "status": self.status,
                    "timestamp": (NOW - timedelta(days=3)).timestamp(),
                    "endTimestamp": self.ended_at and self.ended_at.timestamp(),
                    "tags": self.tags,
                    "assetSelection": [{"path": [asset]} for asset in self.assets],
                }
                return {"partitionBackfillsOrError": {"results": [known] if self.tags else []}}
            case "Launch":
                self.tags = variables["backfill"]["tags"]
                success = {"__typename": "LaunchBackfillSuccess", "backfillId": "new"}
                return {"launchPartitionBackfill": success}
            case "Resume":
                assert variables["parameters"] == {"parentRunId": "before", "strategy": "FROM_FAILURE"}
                success = {"__typename": "LaunchBackfillSuccess", "backfillId": "rest"}
                nothing = {"__typename": "PythonError", "message": "… that has no missing materializations."}
                return {"reexecutePartitionBackfill": success if self.left else nothing}
        return {"partitionBackfillOrError": self._state()}

    def _state(self) -> dict[str, Any]:
        self.polls += 1
        counts = {"numPartitionsTargeted": 4, "numPartitionsMaterialized": 0, "numPartitionsFailed": 0}
        if self.polls > 1:
            counts["numPartitionsMaterialized"] = 4
        return {
            "__typename": "PartitionBackfill",
            "status": "COMPLETED_SUCCESS" if self.polls > 1 else "REQUESTED",
            "error": None,
            "runs": [{"stats": {"materializations": 1}}],
            "assetBackfillData": {"assetBackfillStatuses": [counts]},
        }


@contextmanager
def _failing(body: bytes) -> Iterator[str]:
    with _serving(lambda _: (500, body)) as url:
        yield url


@contextmanager
def _running(dagster: FakeDagster) -> Iterator[str]:
    def respond(request: bytes) -> tuple[int, bytes]:
        asked = json.loads(request)
        return 200, json.dumps({"data": dagster.answer(asked["query"], asked["variables"])}).encode()

    with _serving(respond) as url:
        yield url


@contextmanager
def _serving(respond: Callable[[bytes], tuple[int, bytes]]) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            status, body = respond(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_span_before_the_first_partition_names_it_and_the_variable() -> None:
    with pytest.raises(MendableError, match=r"2026-05-01 06:00 UTC.*PEEBOT_PARTITIONS_START"):
        run_backfill(
            "http://127.0.0.1:1", FIRST.replace(hour=5), FIRST.replace(hour=9), FIRST, NOW, Console()
        )


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
        DagsterApi(webserver(body)).launch_backfill(["a"], FIRST, FIRST.replace(hour=7), "title", "code")
    assert reason in str(failure.value)
    assert "does not answer" not in str(failure.value)
    assert "\n" not in str(failure.value)


def said_by(dagster: FakeDagster, anew: bool = False) -> str:
    """What the command prints; how often Dagster was asked to launch or to go on is in `dagster.asked`."""
    output = StringIO()
    with _running(dagster) as url:
        run_backfill(url, FIRST, FIRST.replace(hour=9), FIRST, NOW, Console(file=output), anew)
    return output.getvalue()


@pytest.fixture
def tags() -> list[dict[str, str]]:
    """Those of the command's backfill of this span."""
    dagster = FakeDagster("")
    said_by(dagster)
    return dagster.tags


def test_a_span_that_was_never_asked_for_is_launched_and_followed_to_its_end() -> None:
    dagster = FakeDagster("")
    said = said_by(dagster)
    assert dagster.asked == ["Latest", "Launch"]
    assert "/runs/b/new" in said
    assert "computing: 1/4 partitions" in said
    assert "Done: 4 partitions" in said


@pytest.mark.parametrize("status", ["REQUESTED", "CANCELING", "FAILING"])
def test_an_unfinished_backfill_of_the_same_span_is_followed_not_launched_again(
    status: str, tags: list[dict[str, str]]
) -> None:
    dagster = FakeDagster(status, tags, ended_at=None)
    said = said_by(dagster)
    assert dagster.asked == ["Latest"]
    assert "/runs/b/before" in said


@pytest.mark.parametrize("status", ["CANCELED", "FAILED", "COMPLETED_FAILED"])
def test_of_a_backfill_that_failed_or_was_cancelled_only_the_rest_is_asked_for(
    status: str, tags: list[dict[str, str]]
) -> None:
    dagster = FakeDagster(status, tags)
    said = said_by(dagster)
    assert dagster.asked == ["Latest", "Resume"]
    assert "/runs/b/rest" in said
    assert "Only what the backfill left that ended 2026-06-01 12:00 UTC (all: --anew)" in said


def test_all_is_computed_anew_when_it_was_finished_or_nothing_is_left_or_a_detector_is_new(
    tags: list[dict[str, str]],
) -> None:
    for dagster in (
        FakeDagster("COMPLETED_SUCCESS", tags),
        FakeDagster("CANCELED", tags, left=False),
        FakeDagster("REQUESTED", tags, assets=["telemetry_minute"]),
        FakeDagster("REQUESTED", [{"key": "peebot/backfill", "value": "another span"}]),
    ):
        said_by(dagster)
        assert dagster.asked[-1] == "Launch"


@pytest.mark.parametrize("ended_at", [NOW - timedelta(days=1, seconds=1), None])
def test_what_failed_longer_ago_than_a_day_is_computed_anew(
    tags: list[dict[str, str]], ended_at: datetime | None
) -> None:
    dagster = FakeDagster("COMPLETED_FAILED", tags, ended_at=ended_at)
    said_by(dagster)
    assert dagster.asked == ["Latest", "Launch"]


@pytest.mark.parametrize("status", ["REQUESTED", "COMPLETED_FAILED"])
def test_what_another_version_of_a_detector_has_begun_is_computed_anew(
    tags: list[dict[str, str]], monkeypatch: pytest.MonkeyPatch, status: str
) -> None:
    monkeypatch.setattr(UrineTankDetector, "version", "another")
    dagster = FakeDagster(status, tags)
    said_by(dagster)
    assert dagster.asked == ["Latest", "Launch"]


def test_who_asks_for_all_of_it_anew_gets_all_of_it(tags: list[dict[str, str]]) -> None:
    dagster = FakeDagster("COMPLETED_FAILED", tags)
    said_by(dagster, anew=True)
    assert dagster.asked == ["Launch"]


def test_a_webserver_that_has_not_loaded_the_definitions_is_waited_for() -> None:
    dagster = FakeDagster("", loaded=False)
    said_by(dagster)
    assert dagster.asked == ["Latest", "Reload", "Launch"]


def test_without_a_terminal_a_line_now_and_then_tells_what_is_left() -> None:
    output = StringIO()
    progress = TextProgress(Console(file=output))
    for now_s, done in ((0.0, 0), (1.0, 5), (40.0, 10), (60.0, 15), (80.0, 20)):
        progress.tell(BackfillState("REQUESTED", 100, 0, 0, done, None), done, now_s)
    assert output.getvalue().splitlines() == [
        "waiting for Dagster's daemon: 0/100 partitions",
        "computing: 10/100 partitions, about 0:06:00 left",
        "computing: 20/100 partitions, about 0:05:20 left",
    ]


def test_a_webserver_that_is_away_is_said_to_be() -> None:
    with pytest.raises(MendableError, match="does not answer"):
        DagsterApi(f"http://127.0.0.1:{free_port()}").backfill_state("x")


def test_the_webserver_of_another_database_is_refused(database_url: str, tmp_path: Path) -> None:
    migrate_databases(database_url, tmp_path)
    dagsters = make_conninfo(database_url, dbname=dagster_database(database_url))

    def ask(newest_run: str | None) -> None:
        runs = [{"runId": newest_run}] if newest_run else []
        answer = json.dumps({"data": {"runsOrError": {"results": runs}}}).encode()
        with _serving(lambda _: (200, answer)) as url:
            require_same_dagster(url, database_url)

    ask(None)
    with pytest.raises(MendableError, match=r"works on another database than .*_dagster"):
        ask("theirs")
    with psycopg.connect(dagsters) as connection:
        connection.execute(
            "INSERT INTO runs (run_id, pipeline_name, status, run_body) VALUES ('ours', 'x', 'SUCCESS', '')"
        )
    ask("ours")
    with pytest.raises(MendableError, match="works on another database"):
        ask(None)


def test_dagsters_first_hour_is_that_of_its_environment_or_its_default() -> None:
    assert first_partition({"PEEBOT_PARTITIONS_START": "2026-05-01-06:00"}) == FIRST
    assert first_partition({}) == datetime(2024, 1, 1, tzinfo=UTC)
    with pytest.raises(MendableError, match="write it as in 2024-01-01-00:00"):
        first_partition({"PEEBOT_PARTITIONS_START": "May"})
