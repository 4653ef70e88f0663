"""A backfill on 1, 2 and 4 warm workers: partitions a second.

Days of telemetry are made in a scratch database as for `peebot bench backfill`. Then the same backfill of the
minutes and of every detector goes through code server, daemon, queue and a Redis to so many workers, each
time on empty tables and with a new database of Dagster. All of it shares this machine's processors.
"""

from __future__ import annotations

import argparse
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql as pgsql

from benchmarks.harness.backfill_run import run_backfill
from benchmarks.harness.dagster_stack import dagster_stack
from benchmarks.harness.history import build_history
from benchmarks.harness.report import Report, circumstances, number, parser, progress, run
from benchmarks.harness.scratch_store import describe_store, scratch_database, scratch_server
from benchmarks.harness.volume import Volume
from peebot_local.backfill import backfilled_assets
from peebot_local.database import (
    PROJECT,
    dagster_database,
    dagster_environment,
    migrate_databases,
    prepare_dagster_home,
)
from peebot_local.embedded_postgres import free_port
from peebot_local.errors import MendableError
from peebot_local.settings import Settings
from peebot_local.warm_workers import BROKER

_PER_WORKER_S = 30.0
_FORGET = (
    "TRUNCATE telemetry_minute, detected_event, processor_revision, processor_state, detector_look CASCADE"
)


def main() -> int:
    """Run the command line."""
    options = _arguments()
    if math.ceil(options.days) < max(options.workers):
        sys.stderr.write(
            "peebot bench workers: a run computes a day; give as many --days as workers at least\n"
        )
        return 1
    return run("workers", lambda: measure(Settings.from_environment(os.environ), options), options)


def measure(settings: Settings, options: argparse.Namespace) -> Report:
    """Build the days once, then a backfill for each number of workers."""
    with (
        scratch_server(settings) as server_url,
        scratch_database(server_url) as url,
        tempfile.TemporaryDirectory(prefix="peebot-bench-") as folder,
    ):
        result: dict[str, Any] = circumstances(describe_store(url))
        with psycopg.connect(url, autocommit=True) as connection:
            volume = build_history(connection, options.days, options.gigabytes * 1e9, options.rate, progress)
        measured = []
        for workers in options.workers:
            try:
                measured.append(_backfill(url, volume, workers, Path(folder) / str(workers)))
            finally:
                _drop(server_url, dagster_database(url))
    result |= {"days": options.days, "rate": options.rate, "workers": with_speed_up(measured)}
    title = f"backfill of {options.days:g} days on warm workers: {result['store']}, {result['machine']}"
    return Report(title, columns(result["workers"]), [_row(each) for each in result["workers"]], result)


def with_speed_up(measured: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The same, each with how many times as fast as the first it is."""
    first = measured[0]["partitions_per_s"]
    return [{**each, "speed_up": round(each["partitions_per_s"] / first, 2)} for each in measured]


def columns(measured: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """The heads of the table; the last says what the speed-up is measured by."""
    first = measured[0]["workers"]
    return "workers", "partitions", "runs", "s", "partitions/s", f"to {first} worker{'s' * (first != 1)}"


def _arguments() -> argparse.Namespace:
    arguments = parser("workers", "Measures a backfill on 1, 2 and 4 warm workers.")
    arguments.add_argument("--days", type=float, default=8.0, help="to compute (default: %(default)g)")
    arguments.add_argument("--rate", type=int, default=7, help="readings a second (default: %(default)d)")
    arguments.add_argument(
        "--gigabytes", type=float, default=40.0, help="at which the database is big enough (%(default)g)"
    )
    arguments.add_argument(
        "--workers", type=int, nargs="+", default=[1, 2, 4], help="how many (default: 1 2 4)"
    )
    options = arguments.parse_args()
    options.days = max(1, round(options.days * 24)) / 24  # partitions are hours
    return options


def _row(each: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        number(each["workers"]),
        number(each["partitions"]),
        number(each["runs"]),
        number(each["seconds"], 1),
        number(each["partitions_per_s"], 1),
        number(each["speed_up"], 2),
    )


def _backfill(url: str, volume: Volume, workers: int, folder: Path) -> dict[str, Any]:
    """From the begin of the first step to the end of the last, through a new Dagster."""
    home = folder / "dagster"
    with psycopg.connect(url) as connection:
        connection.execute(_FORGET)
    migrate_databases(url, home)
    # One more than there are: the one that a backfill leaves to posts.
    prepare_dagster_home(home, workers + 1)
    assets = backfilled_assets()
    with _redis(folder) as broker:
        environment = {
            **dagster_environment(url, home),
            "PEEBOT_PARTITIONS_START": f"{volume.start:%Y-%m-%d-%H}:00",
            BROKER: broker,
        }
        with dagster_stack(environment, folder) as ui_url, _workers(environment, workers, folder):
            done = run_backfill(ui_url, environment, assets, volume, progress)
    hours = round((volume.end - volume.start).total_seconds() / 3600)
    partitions = hours * len(assets)
    return {
        "workers": workers,
        "partitions": partitions,
        "runs": done.runs,
        "seconds": round(done.seconds, 2),
        "partitions_per_s": round(partitions / done.seconds, 2),
    }


@contextmanager
def _redis(folder: Path) -> Iterator[str]:
    command = shutil.which("redis-server")
    if command is None:
        raise MendableError("there is no redis-server here; install it (Debian: apt install redis-server)")
    port = free_port()
    options = ("--bind", "127.0.0.1", "--port", str(port), "--save", "", "--dir", str(folder))
    with _running([command, *options], os.environ, folder / "redis.log"):
        yield f"redis://127.0.0.1:{port}/0"


@contextmanager
def _workers(environment: Mapping[str, str], count: int, folder: Path) -> Iterator[None]:
    log = folder / "workers.log"
    # At INFO it says when it is ready.
    options = ("--queues", "dagster", "--concurrency", str(count), "--loglevel", "INFO", "--without-mingle")
    application = ("-m", "celery", "-A", "peebot_dagster.celery_worker", "worker")
    full = {**os.environ, **environment, "PYTHONPATH": str(PROJECT)}
    with _running([sys.executable, *application, *options], full, log) as process:
        deadline = time.monotonic() + 60 + _PER_WORKER_S * count
        while " ready." not in log.read_text(errors="replace"):
            if process.poll() is not None or time.monotonic() > deadline:
                raise MendableError("the workers do not start", tuple(log.read_text().splitlines()[-8:]))
            time.sleep(0.1)
        yield


@contextmanager
def _running(
    command: list[str], environment: Mapping[str, str], log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    with (
        log.open("wb") as sink,
        subprocess.Popen(command, env=environment, stdout=sink, stderr=sink, cwd="/") as process,  # noqa: S603
    ):
        try:
            yield process
        finally:
            process.terminate()


def _drop(server_url: str, name: str) -> None:
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(
            pgsql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(pgsql.Identifier(name))
        )


if __name__ == "__main__":
    sys.exit(main())
