"""`peebot backfill`: a Dagster backfill of telemetry_minute and all detectors over a span of hours."""

from __future__ import annotations

import time
from datetime import datetime

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from peebot_local.dagster_api import BackfillState, DagsterApi
from peebot_local.errors import MendableError
from peebot_local.partitions import VARIABLE

_POLL_S = 1.0


def backfilled_assets() -> list[str]:
    """telemetry_minute, and the events of each registered detector."""
    from peebot_dagster.detectors.registry import DETECTORS

    return ["telemetry_minute", *(f"{name}_events" for name in DETECTORS)]


def run_backfill(
    ui_url: str, start: datetime, end: datetime, first_partition: datetime, console: Console
) -> None:
    """Launch it on the webserver at `ui_url`, and wait until it has ended. Times are UTC."""
    if end <= start:
        raise MendableError("--to must be later than --from")
    if start < first_partition:
        raise MendableError(
            f"--from {start:%F %R} is before Dagster's first hour, {first_partition:%F %R} UTC; begin there, "
            f"or start './peebot up' with an earlier {VARIABLE}"
        )
    api = DagsterApi(ui_url)
    span = f"{start:%F %R} to {end:%F %R} UTC"
    backfill_id = api.launch_backfill(backfilled_assets(), start, end, f"peebot backfill {span}")
    page = f"{ui_url}/runs/b/{backfill_id}"
    console.print(f"Backfill of {span}: {page}", markup=False, highlight=False, soft_wrap=True)
    state = _follow(api, backfill_id, console)
    if not state.succeeded:
        raise MendableError(
            f"the backfill ended as {state.status}, {state.failed} of {state.partitions} partitions failed"
            f"{f' ({state.error})' if state.error else ''}; see {page}"
        )
    console.print(f"Done: {state.materialized:,} partitions of {len(backfilled_assets())} assets.")


def _follow(api: DagsterApi, backfill_id: str, console: Console) -> BackfillState:
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TimeElapsedColumn(),
        console=console,
        disable=not console.is_terminal,
    )
    with bar:
        task = bar.add_task("partitions", total=None)
        while not (state := api.backfill_state(backfill_id)).finished:
            bar.update(task, completed=state.materialized, total=state.partitions or None)
            time.sleep(_POLL_S)
    return state
