"""`peebot serve`: one process of PeeBot, for servers on which something else keeps the processes alive."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace

from peebot_dagster.ingest_metrics import METRICS_PORT
from peebot_live.binding import LIVE_PORT, LOOPBACK, is_loopback
from peebot_local.database import dagster_environment, prepare_dagster_home
from peebot_local.errors import MendableError
from peebot_local.home import Home
from peebot_local.services import (
    celery_worker,
    code_server,
    dagster_daemon,
    ingest,
    live_page,
    webserver,
)
from peebot_local.settings import UI_PORT, Settings
from peebot_local.supervisor import Child
from peebot_local.up import source_of
from peebot_local.warm_workers import BROKER, WORKERS_OF_A_HOST, workers_of

CODE_SERVER_PORT = 4000


def served(
    name: str,
    settings: Settings,
    environment: Mapping[str, str],
    host: str = LOOPBACK,
    port: int | None = None,
    read_only: bool = False,
) -> Child:
    """The process of this name with its whole environment; MendableError when something is missing for it."""
    if settings.database_url is None:
        raise MendableError("set PEEBOT_DATABASE_URL (or PEEBOT_DATABASE_URL_FILE) to the server's database")
    if read_only and name != "webserver":
        raise MendableError(f"only the webserver can be --read-only, {name} cannot")
    if host != LOOPBACK and name not in _LISTENERS:
        raise MendableError(f"{name} listens to nobody; leave --host away")
    url = settings.database_url.get_secret_value()
    home = Home(settings.home)
    dagster = {**environment, **dagster_environment(url, home.dagster)}
    dagster["PEEBOT_CODE_SERVER_PORT"] = str(settings.code_server_port or CODE_SERVER_PORT)

    def of_dagster(make: Callable[[], Child]) -> Child:
        prepare_dagster_home(home.dagster, workers_of(environment) if environment.get(BROKER) else None)
        return make()

    source = source_of(settings.feed_url)
    makers: dict[str, Callable[[], Child]] = {
        "ingest": lambda: ingest(
            url,
            settings.feed_url,
            source,
            spool=home.spool(source),
            metrics_port=settings.metrics_port or METRICS_PORT,
            metrics_host=host,
        ),
        "code-server": lambda: of_dagster(
            lambda: code_server(url, dagster, port or int(dagster["PEEBOT_CODE_SERVER_PORT"]), host)
        ),
        "dagster-daemon": lambda: of_dagster(lambda: dagster_daemon(url, dagster)),
        "webserver": lambda: of_dagster(
            lambda: webserver(url, dagster, port or settings.ui_port or UI_PORT, host, read_only)
        ),
        "live": lambda: live_page(url, port or settings.live_port or LIVE_PORT, host),
        "celery-worker": lambda: of_dagster(lambda: celery_worker(url, dagster, WORKERS_OF_A_HOST)),
    }
    if name not in makers:
        raise MendableError(f"nothing is named {name!r}; there is {', '.join(makers)}")
    if name == "celery-worker" and not environment.get(BROKER):
        raise MendableError(f"set {BROKER} (or {BROKER}_FILE) to the Redis of the workers")
    child = makers[name]()
    return replace(child, environment={**environment, **_given_to(name, environment, child.environment)})


_LISTENERS = ("ingest", "code-server", "webserver", "live")


def _given_to(name: str, environment: Mapping[str, str], own: Mapping[str, str]) -> dict[str, str]:
    if name != "ingest":
        return dict(own)
    # Here nobody but the service manager itself hears the daemon, and the spool may be elsewhere.
    kept = ("NOTIFY_SOCKET", "PEEBOT_SPOOL")
    return {
        variable: value
        for variable, value in own.items()
        if not (variable in kept and variable in environment)
    }


def listening_host(name: str, host: str | None, environment: Mapping[str, str]) -> str:
    """Where it is to listen: at `host`; else at PEEBOT_METRICS_HOST if it is `ingest`; else on loopback."""
    of_environment = environment.get("PEEBOT_METRICS_HOST") if name == "ingest" else None
    return (of_environment or LOOPBACK) if host is None else host


def require_guarded(host: str, behind_login: bool) -> None:
    """MendableError for a host that others reach, unless somebody vouches for what is in front of it."""
    if not (is_loopback(host) or behind_login):
        raise MendableError(
            f"{host} can be reached from elsewhere, and nothing here asks for a login; listen on 127.0.0.1,"
            " or give --behind-login if what is in front of it does, or nobody else is on that network"
        )


def replace_process(child: Child) -> None:
    """Become that process: the service manager's signals, watchdog and sockets are its own then."""
    Home(Settings.from_environment(child.environment).home).path.mkdir(parents=True, exist_ok=True)
    os.execve(child.command[0], list(child.command), dict(child.environment))  # noqa: S606
