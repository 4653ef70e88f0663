"""Runs a whole PeeBot on this machine: starts everything in order, shows how it fares, and stops it all."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import psycopg
from rich.console import Console

from peebot_dagster.detectors.candidate import CANDIDATES, absolute_references
from peebot_dagster.ingest_metrics import METRICS_VARIABLE
from peebot_dagster.watch import OFF_DUTY
from peebot_live.binding import LIVE_PORT
from peebot_local.database import dagster_environment, prepare_dagster_home
from peebot_local.display import Picture, StatusBlock, Steps
from peebot_local.embedded_postgres import free_port
from peebot_local.errors import MendableError
from peebot_local.home import Home, RunnerState
from peebot_local.interruption import StopRequested, StopSignals
from peebot_local.migration import migrate_in_a_child
from peebot_local.open_store import database_url_of, start_postgres
from peebot_local.partitions import VARIABLE
from peebot_local.ports import PortClaims
from peebot_local.services import (
    answers,
    celery_worker,
    code_server,
    dagster_daemon,
    listens,
    live_page,
    webserver,
)
from peebot_local.settings import UI_PORT, Settings
from peebot_local.status import last_events, last_posts, read_status
from peebot_local.supervisor import Supervisor
from peebot_local.warm_workers import start_broker

_WATCH_S = 0.2
_PICTURE_S = 2.0
_READY_TIMEOUT_S = 180.0


@dataclass(frozen=True)
class Ports:
    """Where on 127.0.0.1 what others look at listens."""

    live: int
    ui: int
    metrics: int


@dataclass(frozen=True)
class Running:
    """What a plan works with while the stack comes up."""

    home: Home
    supervisor: Supervisor
    steps: Steps
    database_url: str
    ui_url: str
    metrics_port: int
    live_port: int

    @property
    def live_url(self) -> str:
        return f"http://127.0.0.1:{self.live_port}"

    @property
    def metrics_url(self) -> str:
        return f"http://127.0.0.1:{self.metrics_port}/metrics"


@dataclass(frozen=True)
class Plan:
    """What makes `up` and `demo` differ.

    `feed` starts whatever brings readings in; `when_up` runs once the UI answers; `environment` goes to
    Dagster's processes.
    """

    title: str
    feed: Callable[[Running], None]
    when_up: Callable[[Running], None] = lambda running: None
    environment: Mapping[str, str] = field(default_factory=dict)
    workers: int | None = None
    """How many warm workers Dagster's runs are given to; None: to none."""


def run(
    settings: Settings, make_plan: Callable[[Home], Plan], signals: StopSignals, console: Console
) -> None:
    """Run until Ctrl-C or SIGTERM, or until something cannot be kept alive."""
    home = Home(settings.home)
    steps = Steps(console)
    database_url: str | None = None
    with home.hold(), closing(PortClaims()) as claims:
        supervisor = Supervisor(home, signals)
        try:
            orphans = supervisor.end_orphans()
            if orphans:
                steps.say(f"Ended {orphans} processes of a PeeBot that was killed.")
            ports = choose_ports(settings, claims)
            plan = make_plan(home)
            running = _start(settings, ports, home, plan, supervisor, steps)
            database_url = running.database_url
            _watch(running, console, plan.title)
        except StopRequested:
            steps.say("Stopping …")
        finally:
            if database_url is not None:
                _end_watch(database_url)
            supervisor.stop_all()
    steps.say("Stopped.")


def _end_watch(database_url: str) -> None:
    # Dagster's daemon waits for the ticks that are under way, and live detection's take many seconds.
    with suppress(psycopg.Error), psycopg.connect(database_url, connect_timeout=2) as connection:
        connection.execute(f"NOTIFY {OFF_DUTY}")


def choose_ports(settings: Settings, claims: PortClaims) -> Ports:
    """Those of the settings; else the usual ones, or the next that are free."""
    # First those that are given: no other may take them.
    metrics = settings.metrics_port and claims.given(settings.metrics_port, "PEEBOT_METRICS_PORT")
    live = settings.live_port and claims.given(settings.live_port, "PEEBOT_LIVE_PORT")
    ui = settings.ui_port and claims.given(settings.ui_port, "PEEBOT_UI_PORT")
    # The page on the wall last moves away from its address.
    return Ports(
        live=live or claims.next_free(LIVE_PORT),
        ui=ui or claims.next_free(UI_PORT),
        metrics=metrics or free_port(),
    )


def _start(
    settings: Settings, ports: Ports, home: Home, plan: Plan, supervisor: Supervisor, steps: Steps
) -> Running:
    ui_url = f"http://127.0.0.1:{ports.ui}"
    code_port = settings.code_server_port or free_port()
    if settings.database_url is None:
        with steps.step("Starting PostgreSQL"):
            start_postgres(home, supervisor)
    database_url = database_url_of(settings)
    with steps.step("Bringing the databases to the newest schema"):
        migrate_in_a_child(database_url, home.dagster)
    prepare_dagster_home(home.dagster, plan.workers)
    broker = {} if plan.workers is None else start_broker(home, supervisor)
    given = given_environment(os.environ, Path.cwd())
    code_location = {"PEEBOT_CODE_SERVER_HOST": "127.0.0.1", "PEEBOT_CODE_SERVER_PORT": str(code_port)}
    watched = os.environ.get(METRICS_VARIABLE) or f"http://127.0.0.1:{ports.metrics}/metrics"
    spools = {METRICS_VARIABLE: watched}
    own_environment = {**code_location, **given, **spools, **broker, **plan.environment}
    environment = {**dagster_environment(database_url, home.dagster), **own_environment}
    running = Running(home, supervisor, steps, database_url, ui_url, ports.metrics, ports.live)
    supervisor.start(code_server(database_url, environment, code_port))
    if plan.workers is not None:
        supervisor.start(celery_worker(database_url, environment, plan.workers))
    plan.feed(running)
    supervisor.start(live_page(database_url, running.live_port))
    with steps.step("Starting Dagster"):
        supervisor.wait_for(listens(code_port), "code-server", _READY_TIMEOUT_S)
        supervisor.start(webserver(database_url, environment, ports.ui))
        supervisor.wait_for(answers(f"{ui_url}/server_info"), "dagster-webserver", _READY_TIMEOUT_S)
    home.announce(
        RunnerState(
            pid=os.getpid(),
            ui_url=ui_url,
            live_url=running.live_url,
            metrics_url=running.metrics_url,
            environment=own_environment,
        )
    )
    steps.say(f"The Dagster UI: {ui_url}")
    steps.say(f"The live page: {running.live_url}")
    plan.when_up(running)
    # After that: the daemon looks for backfills when it starts, and then each half minute only.
    supervisor.start(dagster_daemon(database_url, environment))
    return running


def given_environment(environment: Mapping[str, str], folder: Path) -> Mapping[str, str]:
    """What `environment` says to Dagster's processes, as it is meant in `folder`: they run in another one."""
    given = {VARIABLE: environment[VARIABLE]} if VARIABLE in environment else {}
    candidates = environment.get(CANDIDATES)
    if candidates:
        try:
            given[CANDIDATES] = absolute_references(candidates, folder)
        except LookupError as error:
            raise MendableError(f"{error.args[0]}; correct or unset it") from error
    return given


def _watch(running: Running, console: Console, title: str) -> None:
    block = StatusBlock(console, title)
    next_picture = 0.0
    with block.shown(), closing(_Pictures(running)) as pictures:
        while True:
            running.supervisor.watch()
            now = time.monotonic()
            if now >= next_picture:
                block.show(pictures.take(), now)
                next_picture = now + _PICTURE_S
            time.sleep(_WATCH_S)


class _Pictures:
    """What the status block shows, over one connection that is made anew when it has broken."""

    def __init__(self, running: Running) -> None:
        self._running = running
        self._connection: psycopg.Connection | None = None

    def take(self) -> Picture | None:
        """The picture now; None when the database does not answer."""
        running = self._running
        try:
            if self._connection is None:
                self._connection = psycopg.connect(
                    running.database_url, connect_timeout=2, tcp_user_timeout=2000, autocommit=True
                )
            connection = self._connection
            status = read_status(
                connection,
                datetime.now(UTC),
                str(running.home.path),
                running.ui_url,
                os.getpid(),
                running.metrics_url,
                running.live_url,
            )
            return Picture(
                status,
                tuple(last_events(connection, 3)),
                tuple(last_posts(connection, 2)),
                sum(running.supervisor.restarts.values()),
                shutil.disk_usage(running.home.path).free // 1_000_000,
            )
        except psycopg.OperationalError:
            self.close()
            return None

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
