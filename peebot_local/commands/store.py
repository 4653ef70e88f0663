"""Commands about what is stored: schema, retention, backup, and the state of it all."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from peebot_local.commands.options import SIGNALS, AsJson, console, settings_of_environment
from peebot_local.errors import MendableError
from peebot_local.home import Home


def migrate(
    wait: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="How long to wait for a database that is away.")
    ] = 0.0,
) -> None:
    """Bring PeeBot's and Dagster's databases to the newest schema; make the logins of the environment.

    PEEBOT_INGEST_URL, PEEBOT_DAGSTER_URL, PEEBOT_DAGSTER_READER_URL and PEEBOT_READER_URL are what the
    processes get as their PEEBOT_DATABASE_URL; user and password are made as they say. For another password,
    run it again.
    """
    from peebot_local.database import migrate_databases, wait_for_database
    from peebot_local.display import Steps
    from peebot_local.logins import logins_of, make_logins
    from peebot_local.open_store import open_store

    settings = settings_of_environment()
    logins = logins_of(os.environ)
    steps = Steps(console())
    if settings.database_url is not None:
        wait_for_database(settings.database_url.get_secret_value(), wait, steps.say)
    with open_store(settings, SIGNALS, create=True) as url:
        with steps.step("Bringing the databases to the newest schema"):
            migrate_databases(url, Home(settings.home).dagster)
        if logins:
            with steps.step(f"Making the logins {', '.join(login.user for login in logins)}"):
                make_logins(url, logins)


_Days = Annotated[int | None, typer.Option(min=1, max=36500, show_default=False)]


def retention(
    raw_days: _Days = None,
    minute_days: _Days = None,
    rejected_days: _Days = None,
    compress_after_days: _Days = None,
) -> None:
    """Show or change for how many days what is kept; a change takes effect at once."""
    from peebot_local.open_store import open_store
    from peebot_local.retention import change_settings, settings_table

    wanted = {
        "raw_retention_days": raw_days,
        "minute_retention_days": minute_days,
        "rejected_retention_days": rejected_days,
        "compress_after_days": compress_after_days,
    }
    with open_store(settings_of_environment(), SIGNALS) as url:
        result = change_settings(url, {key: days for key, days in wanted.items() if days is not None})
    console().print(settings_table(result))


def backup(
    file: Annotated[Path, typer.Argument(help="The file to write.")],
    with_checksums: Annotated[
        bool, typer.Option("--checksums", help="Add what is in every table, for restore to compare.")
    ] = False,
) -> None:
    """Save PeeBot's and Dagster's databases in one file; what runs may go on."""
    from peebot_local.backup import backup as save
    from peebot_local.display import Steps
    from peebot_local.open_store import open_store

    with open_store(settings_of_environment(), SIGNALS, any_schema=True) as url:
        save(url, file.absolute(), datetime.now(UTC), Steps(console()), with_checksums)


def restore(
    file: Annotated[Path, typer.Argument(help="A file that backup has written.")],
    force: Annotated[bool, typer.Option("--force", help="Replace databases that are not empty.")] = False,
) -> None:
    """Load a backup into empty databases, and bring it to the newest schema."""
    from peebot_local.backup import restore as load
    from peebot_local.display import Steps
    from peebot_local.open_store import open_store, running_store

    settings = settings_of_environment()
    running = running_store(settings)
    if running is not None:
        raise MendableError(f"PeeBot runs on {running.home.path} with pid {running.state.pid}; stop it first")
    # A schema too new is what one restores for.
    with open_store(settings, SIGNALS, any_schema=True) as url:
        load(url, Home(settings.home).dagster, file.absolute(), force, Steps(console()))


def status(as_json: AsJson = False) -> None:
    """Show the feed's state, what is stored, events, posts, and where the UI is.

    When the database is away: what the ingest daemon tells, and exit code 1.
    """
    import psycopg

    from peebot_local.daemon_status import read_daemon_status
    from peebot_local.database import mendable
    from peebot_local.display import daemon_table, status_table
    from peebot_local.doctor.spool_facts import metrics_url_of
    from peebot_local.open_store import open_store, running_store
    from peebot_local.status import read_status

    settings = settings_of_environment()
    running = running_store(settings)
    state = running.state if running else None
    home = running.home.path if running else settings.home
    pid, metrics_url = (state.pid, state.metrics_url) if state else (None, None)
    try:
        with open_store(settings, SIGNALS) as url, mendable(url), psycopg.connect(url) as connection:
            now = read_status(
                connection,
                datetime.now(UTC),
                str(home),
                state.ui_url if state else None,
                pid,
                metrics_url,
                state.live_url if state else None,
            )
    except MendableError as error:
        if isinstance(error.__cause__, psycopg.OperationalError):
            asked = metrics_url or metrics_url_of(
                os.environ.get("PEEBOT_METRICS_HOST"), settings.metrics_port
            )
            daemon = read_daemon_status(asked, str(error), str(home), pid)
            if daemon is not None:
                typer.echo(daemon.model_dump_json()) if as_json else console().print(daemon_table(daemon))
        raise
    if as_json:
        typer.echo(now.model_dump_json())
    else:
        console().print(status_table(now))
