"""`peebot backfill`: a Dagster backfill of telemetry_minute and all detectors over a span of hours."""

from __future__ import annotations

import hashlib
import time
from datetime import datetime, timedelta

import psycopg
from psycopg.conninfo import make_conninfo
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from peebot_local.dagster_api import Backfill, BackfillState, DagsterApi
from peebot_local.database import dagster_database, describe, mendable
from peebot_local.errors import MendableError
from peebot_local.interruption import StopRequested
from peebot_local.partitions import VARIABLE

RESUMED_WITHIN = timedelta(days=1)
"""What failed or was cancelled longer ago is not gone on with: what it has computed may be out of date."""

_POLL_S = 1.0
_LINE_EVERY_S = 30.0


def require_same_dagster(ui_url: str, database_url: str) -> None:
    """MendableError when the webserver's Dagster is not the one beside the database of `database_url`."""
    newest = DagsterApi(ui_url).newest_run()
    url = make_conninfo(database_url, dbname=dagster_database(database_url))
    known = "SELECT FROM runs WHERE run_id = %s" if newest else "SELECT WHERE NOT EXISTS (SELECT FROM runs)"
    with mendable(url), psycopg.connect(url) as connection:
        if connection.execute(known, (newest,) if newest else None).fetchone() is None:
            raise MendableError(
                f"Dagster's webserver at {ui_url} works on another database than {describe(url)}; "
                "correct --ui (or PEEBOT_UI_URL), or PEEBOT_DATABASE_URL"
            )


def backfilled_assets() -> list[str]:
    """telemetry_minute, and the events of each registered detector."""
    from peebot_dagster.detectors.registry import DETECTORS

    return ["telemetry_minute", *(f"{name}_events" for name in DETECTORS)]


def code_versions() -> str:
    """Names the versions of all registered detectors: another name when one of them has changed."""
    from peebot_dagster.detectors.registry import DETECTORS

    versions = " ".join(sorted(f"{name}={detector.version}" for name, detector in DETECTORS.items()))
    return hashlib.sha256(versions.encode()).hexdigest()[:16]


def run_backfill(
    ui_url: str,
    start: datetime,
    end: datetime,
    first_partition: datetime,
    now: datetime,
    console: Console,
    anew: bool = False,
) -> None:
    """Launch it on the webserver at `ui_url`, or go on with an unfinished one, and wait for its end.

    `anew`: launch it in any case. Times are UTC. Interrupted, it raises StopRequested and leaves the backfill
    to Dagster.
    """
    if end <= start:
        raise MendableError("--to must be later than --from")
    if start < first_partition:
        raise MendableError(
            f"--from {start:%F %R} is before Dagster's first hour, {first_partition:%F %R} UTC; begin there, "
            f"or start PeeBot with an earlier {VARIABLE}"
        )
    api = DagsterApi(ui_url)
    span = f"{start:%F %R} to {end:%F %R} UTC"
    latest = None if anew else _unfinished(api, start, end, now)
    backfill_id, how = _launch_or_resume(api, latest, start, end, f"peebot backfill {span}")
    page = f"{ui_url}/runs/b/{backfill_id}"
    try:
        console.print(f"{how} {span}: {page}", markup=False, highlight=False, soft_wrap=True)
        state = _follow(api, backfill_id, console)
    except StopRequested:
        console.print(
            f"It goes on without you: the same command follows it again; it is cancelled on {page}",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
        raise
    if not state.succeeded:
        raise MendableError(
            f"the backfill ended as {state.status}, {state.failed} of {state.partitions} partitions failed"
            f"{f' ({state.error})' if state.error else ''}; see {page}, and go on with the same command"
        )
    console.print(f"Done: {state.materialized:,} partitions of {len(backfilled_assets())} assets.")


def _unfinished(api: DagsterApi, start: datetime, end: datetime, now: datetime) -> Backfill | None:
    """The latest backfill of this span, if it computes the same and going on with it gives what a new one
    would."""
    latest = api.latest_backfill(start, end)
    if latest is None or latest.succeeded:
        return None
    if latest.assets != frozenset(backfilled_assets()) or latest.code != code_versions():
        return None
    return latest if latest.in_progress or now - latest.at <= RESUMED_WITHIN else None


def _launch_or_resume(
    api: DagsterApi, unfinished: Backfill | None, start: datetime, end: datetime, title: str
) -> tuple[str, str]:
    """The id of the backfill to follow, and what it is in words.

    One that is in progress is followed; of one that failed or was cancelled what it left is asked for; else
    all is computed anew.
    """
    if unfinished is not None:
        if unfinished.in_progress:
            return unfinished.backfill_id, "In progress: the backfill of"
        rest = api.resume_backfill(unfinished.backfill_id)
        if rest is not None:
            return rest, f"Only what the backfill left that ended {unfinished.at:%F %R} UTC (all: --anew):"
    return api.launch_backfill(backfilled_assets(), start, end, title, code_versions()), "Backfill of"


def _follow(api: DagsterApi, backfill_id: str, console: Console) -> BackfillState:
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:,.0f}/{task.total:,.0f} partitions"),
        TimeElapsedColumn(),
        TextColumn("left"),
        # Runs end at different times; a short memory would make the estimate jump.
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
        speed_estimate_period=600.0,
    )
    told = TextProgress(console)
    with bar:
        task = bar.add_task("waiting for Dagster's daemon", total=1)
        while not (state := api.backfill_state(backfill_id)).finished:
            done = min(max(state.written, state.materialized), state.partitions)
            bar.update(task, description=_phase(state, done), completed=done, total=max(state.partitions, 1))
            told.tell(state, done, time.monotonic())
            time.sleep(_POLL_S)
    return state


def _phase(state: BackfillState, done: int) -> str:
    if done and done == state.partitions:
        return "waiting for Dagster's daemon to end it"
    return "computing" if done else "waiting for Dagster's daemon"


class TextProgress:
    """Where there is no terminal: a line each half minute, with what is done and what is left."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._first: tuple[float, int] | None = None
        self._next_s = 0.0

    def tell(self, state: BackfillState, done: int, now_s: float) -> None:
        """`now_s` is monotonic."""
        if self._first is None:
            self._first = (now_s, done)
        if self._console.is_terminal or now_s < self._next_s:
            return
        self._next_s = now_s + _LINE_EVERY_S
        since_s, done_then = self._first
        left = ""
        if done > done_then:
            left_s = (now_s - since_s) / (done - done_then) * (state.partitions - done)
            left = f", about {timedelta(seconds=round(left_s))} left"
        self._console.print(
            f"{_phase(state, done)}: {done:,}/{state.partitions:,} partitions{left}",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
