"""`peebot demo`: the main job on a simulated station with two days behind it; works offline."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
from pydantic import BaseModel, ConfigDict

from peebot_local.backfill import backfilled_assets
from peebot_local.dagster_api import DagsterApi
from peebot_local.database import mendable
from peebot_local.embedded_postgres import free_port
from peebot_local.home import Home
from peebot_local.runner import Plan, Running
from peebot_local.services import ingest, listens, simulator
from peebot_local.station_history import SOURCE, load_history

HISTORY = timedelta(days=2)
FIRST_VISIT_AFTER_S = 20
"""Seconds after the simulator's start: when the UI answers, so that the visit is seen from its first step."""
VISIT_EVERY_S = 360
_READY_TIMEOUT_S = 60.0


class DemoStation(BaseModel):
    """Which simulated station this home's demo listens to."""

    model_config = ConfigDict(frozen=True)

    seed: int
    since: datetime
    history_loaded: bool = False
    backfill_requested: bool = False


def demo_plan(home: Home) -> Plan:
    """Load the station's first two days once, then listen to the same station."""
    record = home.path / "station.json"
    station = _recall(record)

    def feed(running: Running) -> None:
        if not station.history_loaded:
            with running.steps.step("Loading two simulated days"):
                _load_history(running.database_url, station)
            _remember(record, station.model_copy(update={"history_loaded": True}))
        port = free_port()
        story = ["--seed", str(station.seed), "--since", station.since.isoformat()]
        visits = ["--first-visit-after", str(FIRST_VISIT_AFTER_S), "--visit-every", str(VISIT_EVERY_S)]
        truth = ["--truth", str(home.path / "truth.jsonl")]
        running.supervisor.start(simulator(["station", "--port", str(port), *story, *visits, *truth]))
        running.supervisor.wait_for(listens(port), "simulator", _READY_TIMEOUT_S)
        running.supervisor.start(ingest(running.database_url, f"http://127.0.0.1:{port}", SOURCE))

    def when_up(running: Running) -> None:
        if not station.backfill_requested:
            DagsterApi(running.ui_url).launch_backfill(
                backfilled_assets(), station.since, station.since + HISTORY, "The demo's first two days"
            )
            _remember(record, _recall(record).model_copy(update={"backfill_requested": True}))
        running.steps.say("A visit begins in a few seconds; the joke follows about a minute later.")

    return Plan(
        title="PeeBot on a simulated station",
        feed=feed,
        when_up=when_up,
        environment={
            # Whatever credentials there are: what is simulated is never really posted.
            "PEEBOT_POSTS": "dry_run",
            "PEEBOT_POST_COOLDOWN_MINUTES": "3",
            "PEEBOT_PARTITIONS_START": f"{station.since:%Y-%m-%d-%H}:00",
        },
    )


def _recall(record: Path) -> DemoStation:
    if record.exists():
        return DemoStation.model_validate_json(record.read_text())
    began = (datetime.now(UTC) - HISTORY).replace(minute=0, second=0, microsecond=0)
    station = DemoStation(seed=secrets.randbelow(1_000_000), since=began)
    _remember(record, station)
    return station


def _remember(record: Path, station: DemoStation) -> None:
    fresh = record.with_suffix(".new")
    fresh.write_text(station.model_dump_json())
    fresh.replace(record)


def _load_history(database_url: str, station: DemoStation) -> None:
    from iss_simulator.station import Station

    with mendable(database_url), psycopg.connect(database_url, autocommit=True) as connection:
        load_history(connection, Station(station.seed, station.since), station.since, datetime.now(UTC))
