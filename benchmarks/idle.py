"""What PeeBot costs while nothing happens: CPU and memory by process, and how fast Dagster's database grows.

`peebot up` on a simulated station with the station's usual traffic, without a browser. The simulator, which a
PeeBot on NASA's feed has not, is listed apart and is not part of the sum. Memory is PSS: what processes share
is counted once.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import psycopg

from benchmarks.harness.family_cost import Cost, cost
from benchmarks.harness.own_stack import OwnStack, own_stack
from benchmarks.harness.report import (
    Report,
    circumstances,
    number,
    parser,
    progress,
    run,
)
from benchmarks.harness.scratch_store import describe_store
from peebot_local.settings import Settings

SIMULATOR = "simulator (not part of the sum)"
_SETTLE_S = 180.0
"""Until the first hour and the first report are computed, as it is done once an hour: about 10 s of CPU."""
_DAY_S = 86_400.0
_COLUMNS = ("process", "CPU % of one core", "memory MB (PSS)")
_GROWTH = """
SELECT (SELECT count(*) FROM runs), (SELECT count(*) FROM job_ticks),
       (SELECT count(*) FROM event_logs WHERE run_id = ''), (SELECT count(*) FROM event_logs)
"""


def main() -> int:
    """Run the command line."""
    options = _arguments()
    return run("idle", lambda: measure(Settings.from_environment(os.environ), options), options)


def measure(settings: Settings, options: argparse.Namespace) -> Report:
    """Start everything, wait, look at two moments, stop everything."""
    flags = ("--celery",) if options.celery else ()
    environment = {"PEEBOT_POSTS": "dry_run"}
    with _simulator() as (url, simulator), own_stack(settings, url, environment, flags) as stack:
        progress(f"settling for {_SETTLE_S:.0f} s, then measuring for {options.seconds:g} s …")
        time.sleep(_SETTLE_S)
        result = circumstances(describe_store(stack.database_url))
        before, grown_before, began = _costs(stack, simulator), _growth(stack), time.monotonic()
        time.sleep(options.seconds)  # this is the measurement
        stack.require_alive()
        after, grown_after = _costs(stack, simulator), _growth(stack)
        seconds = time.monotonic() - began
    cpu = {
        name: 100 * (spent.cpu_s - before[name].cpu_s) / seconds
        for name, spent in after.items()
        if name in before
    }
    memory = {name: spent.pss / 1e6 for name, spent in after.items()}
    mine = [name for name in cpu if name != SIMULATOR]
    total = {"cpu_percent": sum(cpu[name] for name in mine), "memory_mb": sum(memory[name] for name in mine)}
    per_day = {
        name: round((now - then) * _DAY_S / seconds)
        for name, now, then in zip(
            ("runs", "ticks", "runless_events", "events"), grown_after, grown_before, strict=True
        )
    }
    result |= {name: round(figure, 1) for name, figure in total.items()}
    result |= {
        "processes": {
            name: {"cpu_percent": round(cpu[name], 1), "memory_mb": round(memory[name])} for name in cpu
        },
        "per_day": per_day,
    }
    rows = [(name, number(cpu[name], 1), number(memory[name])) for name in [*mine, SIMULATOR]]
    rows.insert(len(mine), ("sum", number(total["cpu_percent"], 1), number(total["memory_mb"])))
    growth = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in per_day.items())
    title = f"idle: {result['store']}, {result['machine']}; Dagster's database, a day: {growth}"
    return Report(title, _COLUMNS, rows, result)


def _arguments() -> argparse.Namespace:
    arguments = parser("idle", "Measures what PeeBot costs while nothing happens.")
    arguments.add_argument(
        "--seconds", type=float, default=300.0, help="how long to measure (default: %(default)g)"
    )
    arguments.add_argument("--celery", action="store_true", help="with warm workers: peebot up --celery")
    return arguments.parse_args()


@contextmanager
def _simulator() -> Iterator[tuple[str, psutil.Process]]:
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "iss_simulator", "station"], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None  # noqa: S101  it is a pipe
        try:
            yield json.loads(process.stdout.readline())["url"], psutil.Process(process.pid)
        finally:
            process.terminate()


def _costs(stack: OwnStack, simulator: psutil.Process) -> dict[str, Cost]:
    """By the names of the runner's children."""
    children = json.loads(stack.home.children.read_text())
    costs = {child["name"]: cost(psutil.Process(child["identity"]["pid"])) for child in children}
    # Its children are listed already.
    return {**costs, "runner": cost(stack.runner, alone=True), SIMULATOR: cost(simulator)}


def _growth(stack: OwnStack) -> tuple[int, ...]:
    with psycopg.connect(stack.dagster_database_url) as connection:
        row = connection.execute(_GROWTH).fetchone()
    assert row is not None  # noqa: S101  a SELECT without FROM has one row
    return tuple(row)


if __name__ == "__main__":
    sys.exit(main())
