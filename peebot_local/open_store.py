"""Finding the store that a command means, and starting the embedded one for a command that needs it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from peebot_local.database import create_database, require_known_schema
from peebot_local.errors import MendableError
from peebot_local.home import Home, RunnerState
from peebot_local.interruption import StopSignals
from peebot_local.services import DATABASE, postgres
from peebot_local.settings import Settings
from peebot_local.supervisor import Supervisor


@dataclass(frozen=True)
class RunningStore:
    """A PeeBot that runs now: its home, what it says about itself, and its database."""

    home: Home
    state: RunnerState
    database_url: str


def running_store(settings: Settings) -> RunningStore | None:
    """The running `up` of this home, else the running `demo`, else None."""
    for candidate in (settings, settings.for_demo()):
        home = Home(candidate.home)
        state = home.running()
        if state is not None:
            return RunningStore(home, state, database_url_of(candidate))
    return None


def database_url_of(settings: Settings) -> str:
    """PEEBOT_DATABASE_URL, else the database in the embedded server of this home."""
    if settings.database_url is not None:
        return settings.database_url.get_secret_value()
    return Home(settings.home).postgres.url(DATABASE)


def require_store(settings: Settings) -> str:
    """The database of PEEBOT_DATABASE_URL or of what runs now; an error when there is neither.

    Also when a later version of PeeBot has changed its schema.
    """
    if settings.database_url is not None:
        url = settings.database_url.get_secret_value()
    elif (running := running_store(settings)) is not None:
        url = running.database_url
    else:
        raise MendableError(
            f"nothing runs on {settings.home}; start './peebot up' (or demo) in another terminal, "
            "or set PEEBOT_DATABASE_URL"
        )
    require_known_schema(url)
    return url


@contextmanager
def open_store(
    settings: Settings, signals: StopSignals, create: bool = False, any_schema: bool = False
) -> Iterator[str]:
    """The URL of the database; the embedded server is started for the block when it does not run.

    Unless told to `create` one, it is an error when nothing has ever run on this home; and, unless
    `any_schema` will do, when a later version of PeeBot has changed the schema.
    """
    with _opened(settings, signals, create) as url:
        if not any_schema:
            require_known_schema(url)
        yield url


@contextmanager
def _opened(settings: Settings, signals: StopSignals, create: bool) -> Iterator[str]:
    running = running_store(settings)
    if settings.database_url is not None:
        yield settings.database_url.get_secret_value()
    elif running is not None:
        yield running.database_url
    else:
        home = Home(settings.home)
        if not (create or home.postgres.exists):
            raise MendableError(
                f"nothing has run on {settings.home} yet; start './peebot up' (or demo) first, "
                "or set PEEBOT_DATABASE_URL (on a server: docs/operations.md)"
            )
        supervisor = Supervisor(home, signals)
        with home.hold():
            try:
                supervisor.end_orphans()
                start_postgres(home, supervisor)
                yield home.postgres.url(DATABASE)
            finally:
                supervisor.stop_all()


def start_postgres(home: Home, supervisor: Supervisor) -> None:
    """Start the embedded server of this home and wait until PeeBot's database is there."""
    server = home.postgres
    server.initialise()
    supervisor.start(postgres(server))
    supervisor.wait_for(server.accepts_connections, "postgres", 60.0)
    create_database(server.url("postgres"), DATABASE)
