"""Commands that bring the past in, and compute it anew."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from peebot_local.commands.options import (
    FROM,
    RECORDING_HELP,
    SIGNALS,
    TO,
    From,
    Item,
    To,
    console,
    settings_of_environment,
)
from peebot_local.errors import MendableError
from peebot_local.home import Home


def replay(
    file: Annotated[Path, typer.Argument(help=RECORDING_HELP)],
    speed: Annotated[float, typer.Option(min=0.001, help="Seconds of the recording per real second.")] = 1.0,
    item: Item = None,
    start: From = None,
    stop: To = None,
) -> None:
    """Play a recording into a running `up`: through server, client, daemon and database."""
    from iss_simulator.recording import Recording
    from peebot_local.open_store import require_store, running_store
    from peebot_local.partitions import first_partition
    from peebot_local.replay import default_item, replay

    if start is not None and stop is not None and stop <= start:
        raise MendableError("--to must be later than --from")
    settings = settings_of_environment()
    url = require_store(settings)
    recording = Recording(file.absolute(), datetime.now(UTC), item or default_item(), start, stop)
    running = running_store(settings)
    first_hour = first_partition({**os.environ, **(running.state.environment if running else {})})
    replay(Home(settings.home / "replay"), SIGNALS, url, recording, speed, first_hour, console())


def backfill(
    start: Annotated[datetime, FROM],
    end: Annotated[datetime, TO],
    anew: Annotated[
        bool, typer.Option("--anew", help="Compute all of it, even if a part was just computed.")
    ] = False,
    ui: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Dagster's webserver, or PEEBOT_UI_URL.  [default: that of the running `up`;"
            " with PEEBOT_DATABASE_URL http://127.0.0.1:3000]",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Recompute telemetry_minute and all events of a span by a Dagster backfill of the running PeeBot."""
    from peebot_local.backfill import require_same_dagster, run_backfill
    from peebot_local.open_store import require_store, running_store
    from peebot_local.partitions import first_partition
    from peebot_local.settings import UI_PORT

    settings = settings_of_environment({"PEEBOT_UI_URL": ui} if ui else {})
    running = running_store(settings)
    if settings.ui_url is not None or (running is None and settings.database_url is not None):
        ui_url = (settings.ui_url or f"http://127.0.0.1:{settings.ui_port or UI_PORT}").rstrip("/")
        require_same_dagster(ui_url, require_store(settings))
    elif running is not None and running.state.ui_url is not None:
        ui_url = running.state.ui_url
    else:
        raise MendableError("no Dagster runs here; start './peebot up' (or demo) and wait for its UI")
    first_hour = first_partition({**os.environ, **(running.state.environment if running else {})})
    run_backfill(ui_url, start, end, first_hour, datetime.now(UTC), console(), anew)
