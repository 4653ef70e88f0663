"""A backfill of days: telemetry_minute against the same SQL by hand, and the time of all detectors.

Days of telemetry on all catalogued channels are made inside a scratch database (by the station's simulator on
the channels that detectors watch). Then telemetry_minute is computed twice: by one hand-written statement per
day, and by a Dagster backfill of the asset, through code server, daemon and queue: they must be equal. A
second backfill runs every registered detector. The growth of Dagster's database is what these two left in it.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import Any, LiteralString

import psycopg
from psycopg import sql as pgsql
from psycopg.conninfo import make_conninfo

from benchmarks.harness.backfill_run import BackfillRun, run_backfill
from benchmarks.harness.dagster_stack import dagster_stack
from benchmarks.harness.history import build_history
from benchmarks.harness.report import (
    Report,
    circumstances,
    deliver,
    end_cleanly_on_signals,
    number,
    parser,
    progress,
)
from benchmarks.harness.scratch_store import describe_store, scratch_database, scratch_server
from benchmarks.harness.volume import RATE_PER_S, Volume
from peebot_dagster.detectors.registry import DETECTORS
from peebot_local.database import (
    dagster_database,
    dagster_environment,
    migrate_databases,
    prepare_dagster_home,
)
from peebot_local.errors import MendableError
from peebot_local.settings import Settings

_COLUMNS = ("what", "rows", "s", "per day ms", "to the bare SQL")
_BARE = (Path(__file__).parent / "harness" / "bare_minutes.sql").read_text(encoding="utf-8")
_BARE_TABLE = "CREATE TABLE bare_minute (LIKE telemetry_minute INCLUDING ALL)"
_DIFFERENCES = """
SELECT count(*) FROM (
    (TABLE bare_minute EXCEPT TABLE telemetry_minute)
    UNION ALL (TABLE telemetry_minute EXCEPT TABLE bare_minute)
) AS difference
"""


def main() -> int:
    """Run the command line."""
    options = _arguments()
    end_cleanly_on_signals()
    try:
        with (
            scratch_server(Settings.from_environment(os.environ)) as server_url,
            scratch_database(server_url) as url,
            tempfile.TemporaryDirectory(prefix="peebot-bench-") as folder,
        ):
            try:
                report = measure(url, options, Path(folder))
            finally:
                _drop(server_url, dagster_database(url))
    except MendableError as error:
        sys.stderr.write(f"peebot bench backfill: {error}\n")
        return 1
    deliver(report, options)
    return 0


def measure(url: str, options: argparse.Namespace, folder: Path) -> Report:
    """Build the volume in this database and measure; Dagster's home and logs go to `folder`."""
    result: dict[str, Any] = circumstances(describe_store(url))
    home = folder / "dagster"
    migrate_databases(url, home)
    prepare_dagster_home(home)
    with psycopg.connect(url, autocommit=True) as connection:
        volume = build_history(connection, options.days, options.gigabytes * 1e9, options.rate, progress)
    minutes, bare_seconds = _bare(url, volume)
    rows = _one(url, "SELECT sum(readings) FROM bare_minute")
    progress(f"by hand: {minutes:,} minutes of channels in {bare_seconds:.1f} s")
    environment = {
        **dagster_environment(url, home),
        "PEEBOT_PARTITIONS_START": f"{volume.start:%Y-%m-%d-%H}:00",
    }
    before = _database_bytes(url)
    with dagster_stack(environment, folder) as ui_url:
        aggregation = run_backfill(ui_url, environment, ["telemetry_minute"], volume, progress)
        _require_equal(url)
        detection = run_backfill(
            ui_url, environment, [f"{name}_events" for name in DETECTORS], volume, progress
        )
    grown = _database_bytes(url) - before
    seconds = aggregation.seconds
    events = _one(url, "SELECT count(*) FROM detected_event")
    result |= {
        "rows": rows,
        "days": (volume.end - volume.start) / timedelta(days=1),
        "minutes": minutes,
        "seconds": round(seconds, 2),
        "bare_sql_seconds": round(bare_seconds, 2),
        "ratio": round(seconds / bare_seconds, 3),
        "detectors": len(DETECTORS),
        "detector_seconds": round(detection.seconds, 2),
        "detector_seconds_each": {name: round(s, 2) for name, s in detection.seconds_of_asset.items()},
        "events": events,
        "runs": aggregation.runs + detection.runs,
        "backfill_seconds": round(aggregation.seconds_in_all + detection.seconds_in_all, 2),
        "dagster_database_bytes": grown,
    }
    what = f"backfill of {result['days']:g} days, {rows:,} readings"
    title = f"{what}: {result['store']}, {result['machine']}"
    return Report(title, _COLUMNS, _rows(result, detection), result)


def _rows(result: dict[str, Any], detection: BackfillRun) -> list[tuple[str, ...]]:
    days, minutes = result["days"], result["minutes"]

    def row(what: str, rows: float | None, seconds: float, ratio: float | None = None) -> tuple[str, ...]:
        per_day = number(seconds * 1e3 / days)
        return (what, number(rows), number(seconds, 1), per_day, number(ratio, 2))

    return [
        row("telemetry_minute, bare SQL", minutes, result["bare_sql_seconds"], 1.0),
        row("telemetry_minute, backfill", minutes, result["seconds"], result["ratio"]),
        row(f"all {result['detectors']} detectors, backfill", result["events"], result["detector_seconds"]),
        *(row(f"… {asset}", None, seconds) for asset, seconds in detection.seconds_of_asset.items()),
        row(f"both, from request to end, {result['runs']} runs", None, result["backfill_seconds"]),
        (f"Dagster's database: {result['dagster_database_bytes'] / 1e6:.1f} MB more", *[number(None)] * 4),
    ]


def _arguments() -> argparse.Namespace:
    arguments = parser("backfill", "Measures a backfill of the minutes and of every detector.")
    arguments.add_argument("--days", type=float, default=30.0, help="to build (default: %(default)g)")
    arguments.add_argument(
        "--rate", type=int, default=RATE_PER_S, help="readings a second (default: %(default)d)"
    )
    arguments.add_argument(
        "--gigabytes",
        type=float,
        default=40.0,
        help="at which the database is big enough (default: %(default)g)",
    )
    options = arguments.parse_args()
    options.days = max(1, round(options.days * 24)) / 24  # partitions are hours
    return options


def _bare(url: str, volume: Volume) -> tuple[int, float]:
    """The minutes that the hand-written statement makes, day by day, and the seconds that it takes."""
    options = "-c timezone=UTC -c jit=off -c work_mem=64MB"
    with psycopg.connect(
        url, autocommit=True, options=options, cursor_factory=psycopg.ClientCursor
    ) as connection:
        connection.execute(_BARE_TABLE)
        began = time.monotonic()
        minutes, start = 0, volume.start
        while start < volume.end:
            end = min(start + timedelta(days=1), volume.end)
            minutes += connection.execute(_BARE, {"start": start, "end": end}).rowcount
            start = end
        return minutes, time.monotonic() - began


def _require_equal(url: str) -> None:
    differences = _one(url, _DIFFERENCES)
    if differences:
        raise MendableError(f"{differences:,} minutes differ from those of the bare SQL: nothing is measured")


def _database_bytes(url: str) -> int:
    dagster_url = make_conninfo(url, dbname=dagster_database(url))
    return _one(dagster_url, "SELECT pg_database_size(current_database())")


def _one(url: str, query: LiteralString) -> int:
    with psycopg.connect(url) as connection:
        ((number_found,),) = connection.execute(query).fetchall()
    return int(number_found)


def _drop(server_url: str, name: str) -> None:
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(
            pgsql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(pgsql.Identifier(name))
        )


if __name__ == "__main__":
    sys.exit(main())
