"""The store with a month behind it: bytes per reading, and how long a window of one channel takes to read.

Days of telemetry at the station's rate (70/s on all catalogued channels, 30 of them each second) are made
inside a fresh database, oldest first, until `--days` are there or the database is as big as `--gigabytes`.
Then windows of ten minutes of one channel, with the last value before them, are read by telemetry_window() at
chance times of chance channels, and bytes are those of the chunks with their indexes: as written, after the
housekeeping that a store has each night (which puts its days in order), and, where the edition can, after
compression of all chunks.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import asdict
from datetime import timedelta
from time import monotonic
from typing import Any

import psycopg

from benchmarks.harness.report import (
    Report,
    circumstances,
    deliver,
    end_cleanly_on_signals,
    number,
    parser,
    progress,
)
from benchmarks.harness.scratch_store import describe_store, empty_database, scratch_database, scratch_server
from benchmarks.harness.volume import Volume, build
from benchmarks.harness.windows import WindowTimes, measure_windows
from peebot_dagster.housekeeping import order_chunks
from peebot_local.errors import MendableError
from peebot_local.settings import Settings

_COLUMNS = ("chunks", "rows", "days", "bytes/row", "window p50 ms", "window p99 ms", "rows/window")
_EDITION = "SELECT store_edition()"
_BYTES = {
    "postgresql": """
        SELECT sum(pg_total_relation_size(relid)) FROM pg_partition_tree('telemetry_reading') WHERE isleaf
    """,
    "timescaledb-apache": "SELECT hypertable_size('telemetry_reading')",
    "timescaledb-community": "SELECT hypertable_size('telemetry_reading')",
}
_COMPRESS = "SELECT count(compress_chunk(chunk)) FROM show_chunks('telemetry_reading') AS chunk"


def main() -> int:
    """Run the command line."""
    options = _arguments()
    end_cleanly_on_signals()
    try:
        with scratch_server(Settings.from_environment(os.environ)) as server_url:
            database = empty_database if options.in_place else scratch_database
            with database(server_url) as url:
                report = measure(url, options)
    except MendableError as error:
        sys.stderr.write(f"peebot bench store: {error}\n")
        return 1
    deliver(report, options)
    return 0


def measure(url: str, options: argparse.Namespace) -> Report:
    """Build the volume in this database and measure."""
    result: dict[str, Any] = circumstances(describe_store(url))
    with psycopg.connect(url, autocommit=True) as connection:
        edition = str(_one(connection, _EDITION))
        volume = build(connection, options.days, options.gigabytes * 1e9, progress)
        connection.execute("VACUUM (ANALYZE) telemetry_reading")
        size = _bytes_per_row(connection, edition, volume)
        times = measure_windows(connection, volume, options.windows)
        rows = [_row("as written", volume, size, times)]
        result |= {"bytes_per_row_as_written": size, "window_ms_as_written": asdict(times)}
        ordered, order_s = _keep_house(connection, volume)
        if ordered:
            size = _bytes_per_row(connection, edition, volume)
            times = measure_windows(connection, volume, options.windows)
            rows.append(_row(f"put in order ({order_s / ordered:.0f} s a day)", volume, size, times))
        result |= {"ordered_chunks": ordered, "order_s_per_chunk": order_s / max(ordered, 1)}
        compressed: float | None = None
        if edition == "timescaledb-community":
            progress("compressing …")
            connection.execute(_COMPRESS)
            compressed = _bytes_per_row(connection, edition, volume)
            compressed_times = measure_windows(connection, volume, options.windows)
            result["window_ms_compressed"] = asdict(compressed_times)
            rows.append(_row("compressed", volume, compressed, compressed_times))
    result |= {
        "rows": volume.rows,
        "days": (volume.end - volume.start).total_seconds() / 86_400,
        "build_rows_per_s": round(volume.rows / volume.seconds),
        "bytes_per_row": size,
        "bytes_per_row_compressed": compressed,
        "window_ms": asdict(times),
    }
    title = f"store, a 10-minute window of one channel: {result['store']}, {result['machine']}"
    return Report(title, _COLUMNS, rows, result)


def _keep_house(connection: psycopg.Connection, volume: Volume) -> tuple[int, float]:
    """What is done each night with days that are over; how many it were, and how many seconds it took."""
    progress("putting the days in order …")
    began_s = monotonic()
    done = order_chunks(connection, volume.end + timedelta(hours=2))
    seconds = monotonic() - began_s
    for start, reason in done.left.items():
        raise MendableError(f"the day {start:%Y-%m-%d} could not be put in order: {reason}")
    progress(f"{len(done.ordered)} days in {seconds:.0f} s")
    connection.execute("VACUUM telemetry_reading")
    return len(done.ordered), seconds


def _arguments() -> argparse.Namespace:
    arguments = parser("store", "Measures the store with many readings in it.")
    arguments.add_argument("--days", type=float, default=30.0, help="to build (default: %(default)g)")
    arguments.add_argument(
        "--gigabytes",
        type=float,
        default=20.0,
        help="size of the database at which to stop (default: %(default)g)",
    )
    arguments.add_argument("--windows", type=int, default=2000, help="to read (default: %(default)d)")
    arguments.add_argument(
        "--in-place", action="store_true",
        help="use the database of PEEBOT_DATABASE_URL itself, which must be empty; the readings stay there",
    )  # fmt: skip
    return arguments.parse_args()


def _bytes_per_row(connection: psycopg.Connection, edition: str, volume: Volume) -> float:
    return float(_one(connection, _BYTES[edition])) / volume.rows


def _one(connection: psycopg.Connection, query: str) -> Any:
    row = connection.execute(query).fetchone()
    assert row is not None  # noqa: S101  each of these queries has one row
    return row[0]


def _row(chunks: str, volume: Volume, size: float, times: WindowTimes) -> tuple[str, ...]:
    days = (volume.end - volume.start).total_seconds() / 86_400
    figures = (number(size, 1), number(times.p50, 2), number(times.p99, 2), number(times.rows))
    return (chunks, number(volume.rows), number(days, 2), *figures)


if __name__ == "__main__":
    sys.exit(main())
