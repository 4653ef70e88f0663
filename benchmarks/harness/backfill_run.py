"""One backfill through a running Dagster, and what its event log tells of the time."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import psycopg
from psycopg.conninfo import make_conninfo

from benchmarks.harness.volume import Volume
from peebot_local.backfill import code_versions
from peebot_local.dagster_api import DagsterApi
from peebot_local.database import dagster_database
from peebot_local.errors import MendableError

_POLL_S = 1.0
_STEPS = """
SELECT e.step_key, e.dagster_event_type, e.timestamp AT TIME ZONE 'UTC', r.run_id
FROM event_logs e JOIN run_tags r ON r.run_id = e.run_id AND r.key = 'dagster/backfill' AND r.value = %s
WHERE e.dagster_event_type IN ('STEP_START', 'STEP_SUCCESS')
ORDER BY e.id
"""


@dataclass(frozen=True)
class BackfillRun:
    """`seconds`: from the begin of the first step to the end of the last; `seconds_of_asset`: while a step of
    the asset ran; `seconds_in_all`: from the request until Dagster called it ended."""

    runs: int
    seconds: float
    seconds_of_asset: Mapping[str, float]
    seconds_in_all: float


def run_backfill(
    ui_url: str,
    environment: Mapping[str, str],
    assets: Sequence[str],
    volume: Volume,
    tell: Callable[[str], None],
) -> BackfillRun:
    """Backfill these assets over the volume, to the end."""
    api = DagsterApi(ui_url)
    began = time.monotonic()
    backfill_id = api.launch_backfill(
        assets, volume.start, volume.end, "peebot bench backfill", code_versions()
    )
    told = -1
    while not (state := api.backfill_state(backfill_id)).finished:
        if state.written != told:
            told = state.written
            tell(f"{told:,} of {state.partitions:,} partitions, {time.monotonic() - began:.0f} s")
        time.sleep(_POLL_S)  # a poll: Dagster tells no other process; no figure is taken from it
    if not state.succeeded:
        raise MendableError(f"the backfill ended as {state.status}: {state.error or 'see the logs'}")
    in_all = time.monotonic() - began
    url = make_conninfo(
        environment["PEEBOT_DATABASE_URL"], dbname=dagster_database(environment["PEEBOT_DATABASE_URL"])
    )
    with psycopg.connect(url) as connection:
        rows = connection.execute(_STEPS, [backfill_id]).fetchall()
    begun: dict[tuple[str, str], datetime] = {}
    stretches: dict[str, list[tuple[datetime, datetime]]] = defaultdict(list)
    for step, kind, at, run in rows:
        if kind == "STEP_START":
            begun[run, step] = at
        else:
            stretches[step].append((begun[run, step], at))
    every = [stretch for of_asset in stretches.values() for stretch in of_asset]
    return BackfillRun(
        runs=len({run for run, _ in begun}),
        seconds=(max(end for _, end in every) - min(start for start, _ in every)).total_seconds(),
        seconds_of_asset={asset: covered_seconds(stretches[asset]) for asset in assets},
        seconds_in_all=in_all,
    )


def covered_seconds(stretches: Iterable[tuple[datetime, datetime]]) -> float:
    """The seconds that at least one of the stretches covers."""
    seconds, reached = 0.0, None
    for start, end in sorted(stretches):
        begin = start if reached is None else max(start, reached)
        if end > begin:
            seconds += (end - begin).total_seconds()
            reached = end
    return seconds
