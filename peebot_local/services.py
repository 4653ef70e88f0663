"""The processes that make up a PeeBot: how each is started, in terms of the supervisor."""

from __future__ import annotations

import signal
import socket
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from peebot_live.binding import LOOPBACK
from peebot_local.database import PROJECT, reachable
from peebot_local.embedded_postgres import EmbeddedPostgres, server_environment
from peebot_local.processes import StopManner
from peebot_local.supervisor import Child

DATABASE = "peebot"
CODE_LOCATION = "peebot"
_SCRIPTS = Path(sys.executable).parent
_WORKSPACE = str(PROJECT / "workspace.yaml")


def postgres(server: EmbeddedPostgres) -> Child:
    """The embedded server, initialised before; SIGINT is its fast shutdown."""
    return Child(
        name="postgres",
        command=tuple(server.command()),
        environment=server_environment(),
        user=server.run_as(),
        stop=StopManner(number=signal.SIGINT, grace_s=60.0, ask_descendants=False),
        advice=server.advice,
    )


def simulator(arguments: Sequence[str]) -> Child:
    """The simulated station or a recording behind a Lightstreamer server."""
    return Child("simulator", (*_python("iss_simulator"), *arguments))


def ingest(
    database_url: str,
    feed_url: str,
    source: str,
    arguments: Sequence[str] = (),
    name: str = "ingest",
    spool: Path | None = None,
    metrics_port: int | None = None,
    metrics_host: str = LOOPBACK,
) -> Child:
    """The ingest daemon. It waits out a missing database by itself, and keeps what it hears in the spool.

    Without a port for its metrics it is a job's own, and takes no part in what the environment arranges.
    """
    # The service manager's socket is the runner's.
    environment = {"PEEBOT_DATABASE_URL": database_url, "NOTIFY_SOCKET": "", "PEEBOT_METRICS_HOST": ""}
    # Who calls answers for a host that others reach.
    listen = () if metrics_host == LOOPBACK else ("--metrics-host", metrics_host, "--exposed")
    if spool is not None:
        environment["PEEBOT_SPOOL"] = str(spool)
    if metrics_port is None:
        environment |= dict.fromkeys(("PEEBOT_METRICS_PORT", "PEEBOT_CHANNELS", "PEEBOT_INSTANCE"), "")
    else:
        environment["PEEBOT_METRICS_PORT"] = str(metrics_port)
    return Child(
        name=name,
        command=(*_python("ingest_daemon"), "--server", feed_url, "--source", source, *listen, *arguments),
        environment=environment,
        stop=StopManner(grace_s=15.0),
    )


def code_server(
    database_url: str, environment: Mapping[str, str], port: int, host: str = "127.0.0.1"
) -> Child:
    """Dagster's code server; the runs that it starts are its children and stop with it."""
    return Child(
        name="code-server",
        command=(
            *(*_python("peebot_dagster.code_server"), "-h", host, "-p", str(port)),
            *("-m", "peebot_dagster.definitions", "--location-name", CODE_LOCATION),
        ),
        environment=environment,
        may_restart=partial(reachable, database_url),
    )


def dagster_daemon(database_url: str, environment: Mapping[str, str]) -> Child:
    """Dagster's daemon: sensors, schedules, backfills, the run queue."""
    return Child(
        name="dagster-daemon",
        command=(str(_SCRIPTS / "dagster-daemon"), "run", "-w", _WORKSPACE),
        environment=environment,
        may_restart=partial(reachable, database_url),
    )


def redis_server(command: str, folder: Path, socket_path: Path) -> Child:
    """Redis as the broker of the workers; a run that it forgets is sent again by a sensor.

    On a socket that is the user's own: who may write to it has their runs executed.
    """
    options = ("--port", "0", "--unixsocket", str(socket_path), "--unixsocketperm", "700")
    return Child("redis", (command, *options, "--save", "", "--appendonly", "no", "--dir", str(folder)))


def celery_worker(database_url: str, environment: Mapping[str, str], workers: int) -> Child:
    """So many warm workers for Dagster's runs; it lets runs that are under way end."""
    options = ("--queues", "dagster", "--concurrency", str(workers), "--max-tasks-per-child", "200")
    quiet = ("--loglevel", "WARNING", "--without-gossip", "--without-mingle")
    return Child(
        name="celery-worker",
        command=(*_python("celery"), "-A", "peebot_dagster.celery_worker", "worker", *options, *quiet),
        environment=environment,
        stop=StopManner(grace_s=15.0, ask_descendants=False),
        may_restart=partial(reachable, database_url),
    )


def webserver(
    database_url: str,
    environment: Mapping[str, str],
    port: int,
    host: str = "127.0.0.1",
    read_only: bool = False,
) -> Child:
    """Dagster's UI; `read_only`: it starts, stops and reports nothing."""
    listen = (str(_SCRIPTS / "dagster-webserver"), "-h", host, "-p", str(port), "-w", _WORKSPACE)
    return Child(
        name="dagster-webserver",
        command=(*listen, "--read-only") if read_only else listen,
        environment=environment,
        may_restart=partial(reachable, database_url),
    )


def live_page(database_url: str, port: int, host: str = "127.0.0.1") -> Child:
    """The live page; it waits out a missing database by itself."""
    return Child(
        name="live",
        command=(
            *_python("peebot_live"),
            "--port",
            str(port),
            "--host",
            host,
            *(["--exposed"] * (host != "127.0.0.1")),
        ),
        environment={"PEEBOT_DATABASE_URL": database_url},
    )


def _python(module: str) -> tuple[str, ...]:
    # -P: a folder of that name where the user happens to be is not meant.
    return sys.executable, "-P", "-m", module


def listens(port: int) -> Callable[[], bool]:
    """A question for `Supervisor.wait_for`: does somebody listen on this port of 127.0.0.1?"""

    def ask() -> bool:
        with socket.socket() as probe:
            probe.settimeout(1.0)
            return probe.connect_ex(("127.0.0.1", port)) == 0

    return ask


def listens_at(path: Path) -> Callable[[], bool]:
    """A question for `Supervisor.wait_for`: does somebody listen on this socket in the file system?"""

    def ask() -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(1.0)
            return probe.connect_ex(str(path)) == 0

    return ask


def answers(url: str) -> Callable[[], bool]:
    """A question for `Supervisor.wait_for`: does this http URL answer?"""

    def ask() -> bool:
        try:
            with urllib.request.urlopen(url, timeout=2.0):  # noqa: S310  always http on loopback
                return True
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            return False

    return ask
