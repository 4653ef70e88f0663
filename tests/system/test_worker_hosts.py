"""Warm workers on two hosts: one is cut off, on the other they are killed, in the middle of a backfill."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from iss_simulator.station import Station
from peebot_dagster.run_lease import lease_key
from peebot_local.database import migrate_databases
from peebot_local.station_history import load_history
from tests.system.hosts import SERVE, Database, Hosts, hosts, require_namespaces, start_database

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

HOURS = 36
ASSETS = ("telemetry_minute", "urine_tank_events", "water_tanks_events")
WORKERS = ("worker1", "worker2")
TIMELINE_PORT, BROKER_PORT = 8080, 6379
# It takes each post, and each time that it is sent.
TIMELINE = """
import json, ssl, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
class Timeline(BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        key = self.headers["Idempotency-Key"]
        status, answer = (200, {"id": key, "url": "https://timeline/" + key}) if key else (404, {})
        if key:
            print("posted", key, flush=True)
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
server = ThreadingHTTPServer((sys.argv[1], int(sys.argv[2])), Timeline)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[3])
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"""
BACKFILL = """query backfill($id: String!) { partitionBackfillOrError(backfillId: $id) {
    ... on PartitionBackfill { status runs(limit: 1000) { id status tags { key value } }
        assetBackfillData { assetBackfillStatuses { ... on AssetPartitionsStatusCounts {
            numPartitionsTargeted numPartitionsMaterialized numPartitionsFailed } } } } } }"""
LAUNCH = """mutation launch($parameters: LaunchBackfillParams!) {
    launchPartitionBackfill(backfillParams: $parameters) {
        __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }"""
LEASES = """
SELECT host(client_addr), (classid::bigint << 32) | objid::bigint
FROM pg_stat_activity JOIN pg_locks USING (pid)
WHERE application_name = 'peebot_run_lease' AND locktype = 'advisory' AND granted
"""


class Fleet:
    """The hosts, with everything running, and what the test asks of them."""

    def __init__(self, network: Hosts, database: Database, begin: datetime, end: datetime) -> None:
        self.network, self.database, self.begin, self.end = network, database, begin, end
        self.ui_url = f"http://{network.addresses['control']}:3000"

    def ask(self, query: str, **variables: Any) -> Any:
        return self.network.ask("control", self.ui_url, query, **variables)

    def rows(self, query: Any, *parameters: Any) -> list[Any]:
        with psycopg.connect(self.database.socket_url) as connection:
            return connection.execute(query, parameters).fetchall()

    def launch_backfill(self) -> str:
        keys = [
            f"{self.begin + timedelta(hours=hour):%Y-%m-%d-%H}:00"
            for hour in range(int((self.end - self.begin) / timedelta(hours=1)))
        ]
        span = {"range": {"start": keys[0], "end": keys[-1]}}
        selection = [{"assetKey": {"path": [asset]}, "partitions": span} for asset in ASSETS]
        launched = self.ask(LAUNCH, parameters={"partitionsByAssets": selection})["launchPartitionBackfill"]
        assert launched["__typename"] == "LaunchBackfillSuccess", launched
        return str(launched["backfillId"])

    def backfill(self, backfill_id: str) -> Any:
        answer = self.ask(BACKFILL, id=backfill_id)
        return answer and answer["partitionBackfillOrError"]

    def wait_until_it_has_ended(self, backfill_id: str) -> Any:
        def ended() -> Any:
            state = self.backfill(backfill_id)
            return state if state and state["status"] not in ("REQUESTED", "COMPLETING") else None

        return self.network.wait_for(ended, 400, "the backfill ends")

    def executes(self, host: str, backfill_id: str) -> set[str]:
        """The runs of the backfill that have begun and are executed on that host."""
        runs = [
            run for run in (self.backfill(backfill_id) or {"runs": []})["runs"] if run["status"] == "STARTED"
        ]
        held = {key for address, key in self.rows(LEASES) if address == self.network.addresses[host]}
        return {run["id"] for run in runs if lease_key(run["id"]) in held}

    def busy(self, backfill_id: str) -> tuple[str, set[str]] | None:
        """The first host that executes runs of the backfill, and which."""
        found = ((host, self.executes(host, backfill_id)) for host in WORKERS)
        return next(((host, runs) for host, runs in found if runs), None)

    def computed(self) -> tuple[list[Any], list[Any]]:
        minutes = self.rows(
            "SELECT * FROM telemetry_minute WHERE minute < %s ORDER BY channel_id, minute", self.end
        )
        events = self.rows(
            "SELECT event_id, event_type, started_at, ended_at, state, payload FROM detected_event"
            " WHERE state <> 'retracted' AND started_at < %s ORDER BY event_id",
            self.end - timedelta(hours=3),
        )
        return minutes, events

    def posted(self) -> Counter[str]:
        lines = self.network.log("timeline").splitlines()
        return Counter(line for line in lines if line.startswith("posted "))


def made_certificate(folder: Path, address: str) -> Path:
    """A certificate with its key in one file, for a server at this address."""
    certificate = folder / "timeline.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=timeline",
         "-addext", f"subjectAltName=IP:{address}", "-keyout", certificate, "-out", folder / "public.pem"],
        check=True,
        capture_output=True,
    )  # fmt: skip
    with certificate.open("a", encoding="utf-8") as both:
        both.write((folder / "public.pem").read_text(encoding="utf-8"))
    return certificate


@pytest.fixture
def fleet() -> Iterator[Fleet]:
    require_namespaces()
    redis = shutil.which("redis-server")
    if redis is None:
        assert "PEEBOT_REQUIRE_REDIS" not in os.environ, "redis-server is not installed"
        pytest.skip("redis-server is not installed")
    with hosts() as network:
        network.add("store", "control", *WORKERS, "timeline")
        database = start_database(network, "store")
        migrate_databases(database.socket_url, network.folder / "migrating")
        end = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
        begin = end - timedelta(hours=HOURS)
        with psycopg.connect(database.socket_url, autocommit=True) as connection:
            load_history(connection, Station(7, begin), begin, end)
            # What is known to be simulated is posted nowhere.
            connection.execute("UPDATE link_interval SET source = 'isslive'")
        at = network.addresses
        broker = ["--bind", at["store"], "--port", str(BROKER_PORT), "--protected-mode", "no", "--save", ""]
        network.start("store", "redis", [redis, *broker], dict(os.environ))
        certificate = made_certificate(network.folder, at["timeline"])
        timeline = [sys.executable, "-c", TIMELINE, at["timeline"], str(TIMELINE_PORT), str(certificate)]
        network.start("timeline", "timeline", timeline, dict(os.environ))
        kept = {n: v for n, v in os.environ.items() if not n.startswith(("PEEBOT_", "DAGSTER_"))}
        settings = {
            **kept,
            "PEEBOT_DATABASE_URL": database.url,
            "PEEBOT_CODE_SERVER_HOST": at["control"],
            "PEEBOT_CELERY_BROKER": f"redis://{at['store']}:{BROKER_PORT}/0",
            "PEEBOT_CELERY_WORKERS": "4",
            "PEEBOT_PARTITIONS_START": f"{begin:%Y-%m-%d-%H}:00",
            "PEEBOT_POSTS": "mastodon",
            "REQUESTS_CA_BUNDLE": str(certificate),
            "PEEBOT_MASTODON_URL": f"https://{at['timeline']}:{TIMELINE_PORT}",
            "PEEBOT_MASTODON_ACCESS_TOKEN": "none",
            "PEEBOT_POST_COOLDOWN_MINUTES": "0",
            "PEEBOT_POST_FRESHNESS_MINUTES": str(7 * 24 * 60),
        }
        shown = ("--host", at["control"], "--behind-login")
        started = {
            "code-server": ("control", *shown),
            "webserver": ("control", *shown),
            "dagster-daemon": ("control",),
            **{worker: (worker,) for worker in WORKERS},
        }
        for name, (host, *options) in started.items():
            served = "celery-worker" if name in WORKERS else name
            own = {**settings, "PEEBOT_HOME": str(network.folder / f"home-{name}")}
            network.start(host, name, [*SERVE, served, *options], own)
        fleet = Fleet(network, database, begin, end)
        known = "{ assetNodes { assetKey { path } } }"
        network.wait_for(lambda: (fleet.ask(known) or {}).get("assetNodes"), 120, "the UI lists assets")
        yield fleet


def test_a_backfill_ends_though_a_host_of_workers_is_cut_off_and_on_the_other_they_are_killed(
    fleet: Fleet,
) -> None:
    network = fleet.network
    backfill_id = fleet.launch_backfill()

    # Which host takes a run first, or all of them, is for the broker to say.
    first, lost = network.wait_for(lambda: fleet.busy(backfill_id), 200, "a run on a host")
    network.cut_off(first)
    (second,) = {*WORKERS} - {first}
    lost |= network.wait_for(lambda: fleet.executes(second, backfill_id), 200, "a run on the other host")
    for worker in psutil.Process(network.processes[second].pid).children():
        worker.kill()
    ended = fleet.wait_until_it_has_ended(backfill_id)

    assert ended["status"] == "COMPLETED_SUCCESS", ended
    states = ended["assetBackfillData"]["assetBackfillStatuses"]
    assert len(states) == len(ASSETS)
    for state in states:
        assert state["numPartitionsMaterialized"] == state["numPartitionsTargeted"] == HOURS
    states_of_runs = {run["id"]: run["status"] for run in ended["runs"]}
    assert len(lost) >= 2
    assert {run for run, state in states_of_runs.items() if state == "FAILURE"} >= lost
    assert {"SUCCESS", "FAILURE"} >= set(states_of_runs.values())

    network.heal(first)
    after_faults = fleet.computed()
    assert len(after_faults[1]) > 10
    undisturbed = fleet.wait_until_it_has_ended(fleet.launch_backfill())
    assert undisturbed["status"] == "COMPLETED_SUCCESS", undisturbed
    assert fleet.computed() == after_faults
    posted: Counter[str] = network.wait_for(fleet.posted, 60, "something is posted")
    assert max(posted.values()) == 1, posted
