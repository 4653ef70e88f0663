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
) -> None:
    """Recompute telemetry_minute and all events of a span by a Dagster backfill of the running `up`."""
    from peebot_local.backfill import run_backfill
    from peebot_local.open_store import running_store
    from peebot_local.partitions import first_partition

    running = running_store(settings_of_environment())
    if running is None or running.state.ui_url is None:
        raise MendableError("no Dagster runs here; start './peebot up' (or demo) and wait for its UI")
    first_hour = first_partition({**os.environ, **running.state.environment})
    run_backfill(running.state.ui_url, start, end, first_hour, datetime.now(UTC), console(), anew)
