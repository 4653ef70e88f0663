"""The processes of a server, each with its own login, on a store whose owner is no superuser."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from psycopg import errors
from psycopg import sql as pgsql
from psycopg.conninfo import make_conninfo

from peebot_local.backfill import backfilled_assets, code_versions
from peebot_local.dagster_api import DagsterApi
from peebot_local.demo_station import FIRST_VISIT_AFTER_S, VISIT_EVERY_S, first_station
from peebot_local.embedded_postgres import free_port
from tests.conftest import EMBEDDED, NATIVE, Server, fresh_postgres, fresh_timescaledb

pytestmark = [pytest.mark.slow, pytest.mark.timeout(420)]

COMMAND = [sys.executable, "-P", "-m", "peebot_local"]
PARTS = ("ingest", "dagster", "dagster_reader", "reader")
PROCESSES = {
    "ingest": "ingest",
    "code-server": "dagster",
    "dagster-daemon": "dagster",
    "webserver": "dagster",
    "webserver-public": "dagster_reader",
    "live": "reader",
}
LAUNCH = """
mutation($p: ExecutionParams!) { launchRun(executionParams: $p) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message }
} }
"""
STATUS = "query($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"
MATERIALIZED = "{ assetNodes { assetKey { path } made: assetMaterializations(limit: 1) { partition } } }"
TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


@pytest.fixture(params=[EMBEDDED, NATIVE])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """Fresh, so that the owner has to make the roles."""
    with fresh_postgres() if request.param == EMBEDDED else fresh_timescaledb(request.config) as fresh:
        yield fresh


@dataclass(frozen=True)
class Store:
    """A migrated database: the URLs of the server's superuser, of its owner and of each login."""

    superuser: str
    owner: str
    logins: dict[str, str]
    environment: dict[str, str]

    def one(self, query: str) -> Any:
        with psycopg.connect(self.owner) as connection:
            return connection.execute(query).fetchone()


@pytest.fixture
def store(server: Server) -> Iterator[Store]:
    """As docs/deployment.md has it made: by an owner who may make databases and roles, and no more."""
    home = Path(tempfile.mkdtemp(prefix="peebot-logins-", dir="/tmp"))
    passwords = {user: secrets.token_hex(12) for user in ("peebot_owner", *PARTS)}
    with psycopg.connect(server.url("postgres"), autocommit=True) as admin:
        admin.execute(
            pgsql.SQL("CREATE ROLE peebot_owner LOGIN CREATEDB CREATEROLE PASSWORD {}").format(
                pgsql.Literal(passwords["peebot_owner"])
            )
        )
        admin.execute("CREATE DATABASE peebot OWNER peebot_owner ENCODING 'UTF8' TEMPLATE template0")
        has = "SELECT FROM pg_available_extensions WHERE name = 'timescaledb'"
        if admin.execute(has).fetchone() is not None:
            with psycopg.connect(server.url("peebot"), autocommit=True) as inside:
                inside.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
    host = urlsplit(server.url("peebot"))

    def url(user: str) -> str:
        return urlunsplit(host._replace(netloc=f"{user}:{passwords[user]}@{host.hostname}:{host.port}"))

    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PEEBOT_", "DAGSTER_"))}
    ports = ("CODE_SERVER", "UI", "PUBLIC", "LIVE", "METRICS")
    store = Store(
        server.url("postgres"),
        url("peebot_owner"),
        {part: url(part) for part in PARTS},
        {
            **kept,
            **{f"PEEBOT_{name}_PORT": str(free_port()) for name in ports},
            "PEEBOT_HOME": str(home),
            "PEEBOT_POSTS": "dry_run",
            "PEEBOT_PARTITIONS_START": f"{TODAY - timedelta(days=1):%Y-%m-%d-%H}:00",
        },
    )
    migrated = subprocess.run(
        [*COMMAND, "migrate"],
        env={
            **store.environment,
            "PEEBOT_DATABASE_URL": store.owner,
            **{f"PEEBOT_{part.upper()}_URL": login for part, login in store.logins.items()},
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert migrated.returncode == 0, migrated.stderr
    assert "Making the logins ingest, dagster, dagster_reader, reader" in migrated.stdout
    yield store
    shutil.rmtree(home)


@contextmanager
def running(arguments: list[str], environment: dict[str, str], log: Path) -> Iterator[subprocess.Popen[str]]:
    with log.open("w") as sink:
        process = subprocess.Popen(
            [*COMMAND, *arguments], env=environment, stdout=sink, stderr=subprocess.STDOUT, text=True
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)


@dataclass(frozen=True)
class Running:
    """All processes with their logins, on a simulated station with a visit some seconds after its start."""

    store: Store
    processes: list[subprocess.Popen[str]]
    logs: Path

    def wait_for(self, condition: Callable[[], Any], timeout_s: float = 150) -> Any:
        deadline = time.monotonic() + timeout_s
        while not (answer := condition()):
            told = "\n".join(f"{log.name}:\n{log.read_text()[-3000:]}" for log in self.logs.glob("*.log"))
            assert all(process.poll() is None for process in self.processes), told
            assert time.monotonic() < deadline, told
            time.sleep(0.3)
        return answer

    def url(self, of: str, path: str) -> str:
        return f"http://127.0.0.1:{self.store.environment[f'PEEBOT_{of}_PORT']}{path}"

    def ask(self, query: str, variables: dict[str, Any], of: str = "UI") -> Any:
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(  # noqa: S310
            self.url(of, "/graphql"), body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310
            (answer,) = json.load(response)["data"].values()
        return answer

    def run(self, job: str) -> None:
        """Launch the job and see it succeed."""
        selector = {
            "repositoryLocationName": "peebot",
            "repositoryName": "__repository__",
            "pipelineName": job,
        }
        launched = self.ask(LAUNCH, {"p": {"selector": selector, "mode": "default"}})
        assert launched["__typename"] == "LaunchRunSuccess", launched
        run_id = launched["run"]["runId"]
        ends = ("SUCCESS", "FAILURE", "CANCELED")

        def end() -> str | None:
            status = self.ask(STATUS, {"id": run_id})["status"]
            return status if status in ends else None

        assert self.wait_for(end) == "SUCCESS", job


def reads(url: str) -> bytes | None:
    try:
        with urllib.request.urlopen(url, timeout=10) as response:  # noqa: S310
            return bytes(response.read())
    except (urllib.error.URLError, ConnectionError):
        return None


@contextmanager
def all_processes(store: Store) -> Iterator[Running]:
    home = Path(store.environment["PEEBOT_HOME"])
    station_port = free_port()
    story = first_station(datetime.now(UTC), timedelta(hours=2), count())
    told = ["--port", str(station_port), "--seed", str(story.seed), "--since", story.since.isoformat()]
    told += ["--first-visit-after", str(FIRST_VISIT_AFTER_S), "--visit-every", str(VISIT_EVERY_S)]
    feed = {**store.environment, "PEEBOT_FEED_URL": f"http://127.0.0.1:{station_port}"}
    with ExitStack() as stack:
        processes = [
            stack.enter_context(running(["simulate", "station", *told], feed, home / "simulate.log"))
        ]
        for process, part in PROCESSES.items():
            # A home for each, as under systemd.
            own = {
                **feed,
                "PEEBOT_HOME": str(home / process),
                "PEEBOT_DATABASE_URL": store.logins[part],
            }
            command = ["serve", process]
            if process == "webserver-public":
                command = [
                    "serve",
                    "webserver",
                    "--read-only",
                    "--port",
                    store.environment["PEEBOT_PUBLIC_PORT"],
                ]
            processes.append(stack.enter_context(running(command, own, home / f"{process}.log")))
        yield Running(store, processes, home)


def test_all_that_peebot_does_is_done_with_the_logins_and_never_as_the_owner(store: Store) -> None:
    old = TODAY - timedelta(days=40)
    with psycopg.connect(store.owner) as connection:
        connection.execute("SELECT create_telemetry_chunks(%s, %s)", (old, old))
        connection.execute(
            "INSERT INTO telemetry_reading VALUES (1, %s, %s, 1, '1', 24, false, 1)", (old, old)
        )
    with all_processes(store) as peebot:
        peebot.wait_for(lambda: store.one("SELECT count(*) > 100 FROM telemetry_reading") == (True,))
        page = peebot.wait_for(lambda: reads(peebot.url("LIVE", "/")))
        assert b"<html" in page
        peebot.wait_for(lambda: reads(peebot.url("UI", "/server_info")))
        # Before anybody has opened the other one.
        page = peebot.wait_for(lambda: reads(peebot.url("PUBLIC", "/")))
        assert b"<html" in page

        api = DagsterApi(peebot.url("UI", "").rstrip("/"))
        since = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=1)
        backfill = api.launch_backfill(
            backfilled_assets(), since, since + timedelta(hours=2), "with logins", code_versions()
        )
        peebot.run("store_maintenance")
        peebot.run("run_retention")
        assert store.one("SELECT count(*) FROM telemetry_reading WHERE ts < now() - interval '31 days'") == (
            0,
        )
        sent = "SELECT event_type, post.state FROM post JOIN detected_event USING (event_id)"
        # Claimed, it is not yet sent.
        peebot.wait_for(lambda: store.one(sent) == ("toilet_visit", "dry_run"))
        peebot.wait_for(lambda: api.backfill_state(backfill).finished)
        assert api.backfill_state(backfill).succeeded
        assert store.one("SELECT count(*) > 0 FROM telemetry_minute") == (True,)
        peebot.wait_for(lambda: store.one("SELECT count(*) > 0 FROM link_interval") == (True,))
        shown = peebot.ask(MATERIALIZED, {}, "PUBLIC")
        assert {"path": ["telemetry_minute"]} in [node["assetKey"] for node in shown if node["made"]]
        with psycopg.connect(store.superuser) as connection:
            # Others cannot tell the sessions of programs from TimescaleDB's own workers.
            users = connection.execute(
                "SELECT DISTINCT usename::text FROM pg_stat_activity"
                " WHERE datname LIKE 'peebot%' AND backend_type = 'client backend' ORDER BY 1"
            ).fetchall()
        assert users == [("dagster",), ("dagster_reader",), ("ingest",), ("reader",)]


READING = "INSERT INTO telemetry_reading VALUES (1, now(), now(), 1, '1', 24, false, 0)"
REFUSED = {
    "ingest": (
        "SELECT FROM post",
        "SELECT FROM detected_event",
        "DELETE FROM telemetry_reading",
        "UPDATE telemetry_reading SET value = 0",
        "CREATE TABLE mine (x integer)",
        "CREATE ROLE mine",
        "SELECT maintain_store_now()",
    ),
    "dagster": (
        READING,
        "DELETE FROM telemetry_reading",
        "UPDATE setting SET value = 1",
        "DROP TABLE post",
        "CREATE ROLE mine",
        "CREATE TABLE mine (x integer)",
    ),
    "dagster_reader": (
        READING,
        "SELECT FROM telemetry_reading",
        "SELECT FROM post",
        "UPDATE post SET state = 'posted'",
        "CREATE TABLE mine (x integer)",
        "CREATE ROLE mine",
    ),
    "reader": (
        READING,
        "INSERT INTO detected_event DEFAULT VALUES",
        "UPDATE post SET state = 'posted'",
        "DELETE FROM telemetry_minute",
        "CREATE TABLE mine (x integer)",
        "CREATE ROLE mine",
    ),
}


def refused(url: str, statement: str) -> bool:
    with psycopg.connect(url) as connection:
        try:
            connection.execute(statement)
        except errors.InsufficientPrivilege:
            return True
        finally:
            connection.rollback()
    return False


def test_each_login_is_refused_what_its_part_does_not_need(store: Store) -> None:
    allowed = [
        (part, statement)
        for part, statements in REFUSED.items()
        for statement in statements
        if not refused(store.logins[part], statement)
    ]
    inside = {part: make_conninfo(url, dbname="peebot_dagster") for part, url in store.logins.items()}
    allowed += [
        (part, statement)
        for part in ("ingest", "reader")
        for statement in ("SELECT FROM runs", "DELETE FROM event_logs", "CREATE TABLE mine (x integer)")
        if not refused(inside[part], statement)
    ]
    allowed += [
        ("dagster_reader", statement)
        for statement in (
            "DELETE FROM runs",
            "UPDATE instigators SET status = 'STOPPED'",
            "TRUNCATE event_logs",
        )
        if not refused(inside["dagster_reader"], statement)
    ]
    assert allowed == []
    assert not refused(inside["dagster_reader"], "SELECT FROM runs")
    assert not refused(inside["dagster"], "DELETE FROM runs")
    assert refused(inside["dagster"], "DROP TABLE runs")
