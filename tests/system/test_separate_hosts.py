"""Each process of PeeBot on a host of its own, by configuration only; one host is cut off and comes back."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import psycopg
import pytest

from iss_simulator.station import Station
from peebot_local.database import migrate_databases
from peebot_local.demo_station import FIRST_VISIT_AFTER_S, VISIT_EVERY_S, first_station
from peebot_local.station_history import load_history
from tests.system.hosts import SERVE, Database, Hosts, hosts, require_namespaces, start_database

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

HOURS = 3
FEED_PORT = 8888
LAUNCH = """mutation launch($parameters: LaunchBackfillParams!) {
    launchPartitionBackfill(backfillParams: $parameters) {
        __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }"""
BACKFILL = """query backfill($id: String!) {
    partitionBackfillOrError(backfillId: $id) { ... on PartitionBackfill { status } } }"""
ASSETS = "{ assetNodes { assetKey { path } } }"


class Spread:
    """The hosts with everything running, as somebody at a laptop sees them."""

    def __init__(self, network: Hosts, database: Database, begin: datetime) -> None:
        self.network, self.database, self.begin = network, database, begin
        self.ui_url = f"http://{network.addresses['ui']}:3000"

    def ask(self, query: str, **variables: Any) -> Any:
        return self.network.ask("laptop", self.ui_url, query, **variables)

    def one(self, query: Any, *parameters: Any) -> Any:
        with psycopg.connect(self.database.socket_url) as connection:
            ((answer,),) = connection.execute(query, parameters).fetchall()
        return answer

    def newest_reading(self) -> datetime | None:
        newest: datetime | None = self.one("SELECT max(ts) FROM telemetry_reading")
        return newest

    def materialize(self) -> None:
        """One partition of telemetry_minute by a backfill that succeeds."""
        key = f"{self.begin:%Y-%m-%d-%H}:00"
        partitions = {
            "assetKey": {"path": ["telemetry_minute"]},
            "partitions": {"range": {"start": key, "end": key}},
        }
        answer = self.ask(LAUNCH, parameters={"partitionsByAssets": [partitions]})["launchPartitionBackfill"]
        assert answer["__typename"] == "LaunchBackfillSuccess", answer

        def status() -> Any:
            told = self.ask(BACKFILL, id=answer["backfillId"])
            return told and told["partitionBackfillOrError"]["status"]

        self.network.wait_for(
            lambda: status() not in (None, "REQUESTED", "COMPLETING"), 180, "the backfill ends"
        )
        assert status() == "COMPLETED_SUCCESS"


@pytest.fixture
def spread() -> Iterator[Spread]:
    require_namespaces()
    with hosts() as network:
        network.add("store", "station", "code", "control", "ui", "laptop")
        at = network.addresses
        database = start_database(network, "store")
        migrate_databases(database.socket_url, network.folder / "migrating")
        now = datetime.now(UTC)
        station = first_station(now + timedelta(seconds=30), timedelta(hours=HOURS), count(1))
        with psycopg.connect(database.socket_url, autocommit=True) as connection:
            load_history(connection, Station(station.seed, station.since), station.since, now)
        kept = {n: v for n, v in os.environ.items() if not n.startswith(("PEEBOT_", "DAGSTER_"))}
        settings = {
            **kept,
            "PEEBOT_DATABASE_URL": database.url,
            "PEEBOT_FEED_URL": f"http://127.0.0.1:{FEED_PORT}",
            "PEEBOT_CODE_SERVER_HOST": at["code"],
            "PEEBOT_PARTITIONS_START": f"{station.since:%Y-%m-%d-%H}:00",
            "PEEBOT_POSTS": "dry_run",
        }
        # The daemon last: its visit should not have to wait for the rest.
        started: dict[str, tuple[str, ...]] = {
            "code-server": ("code", "--host", at["code"], "--behind-login"),
            "webserver": ("ui", "--host", at["ui"], "--behind-login"),
            "dagster-daemon": ("control",),
            "ingest": ("station",),
        }
        for name, (host, *options) in started.items():
            own = {**settings, "PEEBOT_HOME": str(network.folder / f"home-{host}")}
            network.start(host, name, [*SERVE, name, *options], own)
        spread = Spread(network, database, station.since)
        network.wait_for(lambda: (spread.ask(ASSETS) or {}).get("assetNodes"), 120, "the UI lists assets")
        since = ("--since", station.since.isoformat(), "--seed", str(station.seed), "--port", str(FEED_PORT))
        visits = ("--first-visit-after", str(FIRST_VISIT_AFTER_S), "--visit-every", str(VISIT_EVERY_S))
        simulator = [sys.executable, "-P", "-m", "iss_simulator", "station", *since, *visits]
        network.start("station", "simulator", simulator, kept)
        yield spread


def test_what_is_heard_on_one_host_is_an_event_and_a_post_on_others_and_a_cut_link_heals(
    spread: Spread,
) -> None:
    network = spread.network
    begun = datetime.now(UTC)
    network.wait_for(lambda: (spread.newest_reading() or begun) > begun, 60, "a reading comes in")

    spread.materialize()
    assert spread.one(
        "SELECT count(*) FROM telemetry_minute WHERE minute < %s", spread.begin + timedelta(hours=1)
    )
    network.wait_for(
        lambda: spread.one(
            "SELECT count(*) FROM post JOIN detected_event USING (event_id)"
            " WHERE post.state = 'dry_run' AND started_at > %s",
            begun,
        ),
        150,
        "the visit is an event, and posted",
    )

    network.cut_off("code")
    network.wait_for(lambda: spread.ask("{ version }"), 30, "the UI answers without the code server")
    cut_at = datetime.now(UTC)
    network.wait_for(lambda: (spread.newest_reading() or cut_at) > cut_at, 60, "readings go on coming in")
    network.heal("code")
    spread.materialize()

    network.cut_off("station")
    last = network.wait_for(spread.newest_reading, 10, "the last reading")
    network.heal("station")
    network.wait_for(lambda: (spread.newest_reading() or last) > last, 60, "readings come in again")
