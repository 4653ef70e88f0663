"""`peebot demo`: the main job on a simulated station with two days behind it; works offline."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import psycopg
from pydantic import BaseModel, ConfigDict

from peebot_local.backfill import backfilled_assets, code_versions
from peebot_local.dagster_api import DagsterApi
from peebot_local.database import mendable
from peebot_local.demo_station import (
    FIRST_VISIT_AFTER_S,
    VISIT_EVERY_S,
    DemoStation,
    first_station,
    last_level,
    next_station,
)
from peebot_local.embedded_postgres import free_port
from peebot_local.home import Home
from peebot_local.runner import Plan, Running
from peebot_local.services import ingest, listens, simulator
from peebot_local.station_history import SOURCE, load_history

HISTORY = timedelta(days=2)
_READY_TIMEOUT_S = 60.0


class DemoRecord(BaseModel):
    """What this home's demo has done so far; `station` is that of its history."""

    model_config = ConfigDict(frozen=True)

    station: DemoStation
    history_loaded: bool = False
    backfill_requested: bool = False

    @classmethod
    def recall(cls, file: Path) -> DemoRecord:
        """The record in the file, or the first one, which is written before anything depends on it."""
        if file.exists():
            return cls.model_validate_json(file.read_text())
        seeds = count(secrets.randbelow(1_000_000))
        record = cls(station=first_station(datetime.now(UTC), HISTORY, seeds))
        record.remember(file)
        return record

    def remember(self, file: Path) -> None:
        """Write it, whole or not at all."""
        fresh = file.with_suffix(".new")
        fresh.write_text(self.model_dump_json())
        fresh.replace(file)


def demo_plan(home: Home) -> Plan:
    """The first time, load two days of a station and go on with it; later one that continues its tank."""
    file = home.path / "demo.json"
    first = DemoRecord.recall(file)

    def feed(running: Running) -> None:
        if first.history_loaded:
            station = next_station(datetime.now(UTC), last_level(running.database_url))
        else:
            station = first.station
            with running.steps.step("Loading two simulated days"):
                _load(running.database_url, station)
            first.model_copy(update={"history_loaded": True}).remember(file)
        _listen(running, station, home.path / "truth.jsonl")

    def when_up(running: Running) -> None:
        if not first.backfill_requested:
            since = first.station.since
            DagsterApi(running.ui_url).launch_backfill(
                backfilled_assets(), since, since + HISTORY, "The demo's first two days", code_versions()
            )
            DemoRecord.recall(file).model_copy(update={"backfill_requested": True}).remember(file)
        running.steps.say("A visit begins in a few seconds; the joke follows about a minute later.")

    return Plan(
        title="PeeBot on a simulated station",
        feed=feed,
        when_up=when_up,
        environment={
            # Whatever credentials there are: what is simulated is never really posted.
            "PEEBOT_POSTS": "dry_run",
            "PEEBOT_POST_COOLDOWN_MINUTES": "3",
            "PEEBOT_PARTITIONS_START": f"{first.station.since:%Y-%m-%d-%H}:00",
        },
    )


def _load(database_url: str, station: DemoStation) -> None:
    from iss_simulator.station import Station

    with mendable(database_url), psycopg.connect(database_url, autocommit=True) as connection:
        load_history(connection, Station(station.seed, station.since), station.since, datetime.now(UTC))


def _listen(running: Running, station: DemoStation, truth: Path) -> None:
    port = free_port()
    story = ["--seed", str(station.seed), "--since", station.since.isoformat(), "--truth", str(truth)]
    visits = ["--first-visit-after", str(FIRST_VISIT_AFTER_S), "--visit-every", str(VISIT_EVERY_S)]
    running.supervisor.start(simulator(["station", "--port", str(port), *story, *visits]))
    running.supervisor.wait_for(listens(port), "simulator", _READY_TIMEOUT_S)
    running.supervisor.start(
        ingest(
            running.database_url,
            f"http://127.0.0.1:{port}",
            SOURCE,
            spool=running.home.spool(SOURCE),
            metrics_port=running.metrics_port,
        )
    )
