"""From the wire to a committed row: how fast, how late, and that nothing is lost or doubled.

A loopback server in its own process sends a numbered stream on all catalogued channels to an ingest daemon.
Sustained: as many updates as are taken, at most `--in-flight` of them under way, or `--rate` a second. Delay:
from the stamp in the update (the moment of sending, rounded down to the millisecond) to the moment at which
another connection, woken by the writer's NOTIFY, has seen the commit. Lost and doubled: the numbers in
telemetry_reading against those sent, and a checksum over channel, time and value of every row on both sides.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import asdict
from typing import Any

from benchmarks.harness.ingest_run import RunResult, run_load
from benchmarks.harness.load import Load
from benchmarks.harness.peers import Peer, measure_peers
from benchmarks.harness.processes import BenchError
from benchmarks.harness.report import (
    NOTHING,
    Report,
    circumstances,
    deliver,
    end_cleanly_on_signals,
    number,
    parser,
    progress,
)
from benchmarks.harness.scratch_store import describe_store, scratch_database, scratch_server
from peebot_local.errors import MendableError
from peebot_local.settings import Settings

FEEDS = ("official", "tlcp")
FEED_RATE_PER_S = 70.0
"""What the station sends on average."""
FAST_RATE_PER_S = 10_000.0
IN_FLIGHT = {"official": 5_000, "tlcp": 100_000}
_COLUMNS = (
    "what", "load", "rows/s", "lost", "doubled", "p50 ms", "p99 ms", "max ms", "CPU µs/row", "peak MB"
)  # fmt: skip
_PEER_NAMES = {
    "insert_per_message": "peer: one INSERT and commit per message",
    "executemany": "peer: executemany (10,000 a transaction)",
    "copy_of_ready_rows": "limit: binary COPY of ready rows",
    "writer_of_ready_readings": "limit: our writer with ready readings",
}


def main() -> int:
    """Run the command line; 0, 1 when something was lost or could not be measured."""
    options = _arguments()
    end_cleanly_on_signals()
    try:
        with scratch_server(Settings.from_environment(os.environ)) as server_url:
            report, is_right = measure(server_url, options)
    except (BenchError, MendableError) as error:
        sys.stderr.write(f"peebot bench ingest: {error}\n")
        return 1
    deliver(report, options)
    if not is_right:
        sys.stderr.write("peebot bench ingest: what is stored is not what was sent\n")
    return 0 if is_right else 1


def measure(server_url: str, options: argparse.Namespace) -> tuple[Report, bool]:
    """All measurements; also whether exactly what was sent has been stored in each."""
    with scratch_database(server_url) as url:
        result = circumstances(describe_store(url))
    runs: dict[str, dict[str, RunResult]] = {}
    for feed in options.feeds:
        runs[feed] = {}
        for name, load in _loads(feed, options).items():
            progress(f"{feed}: {name}, {load.seconds:g} s …")
            runs[feed][name] = run_load(server_url, feed, load)
        result[feed] = _summary(runs[feed])
    progress("peers and limits …")
    peers, limits = measure_peers(server_url, options.peer_seconds)
    result["peers"] = {name: asdict(peer) for name, peer in peers.items()}
    result["limit"] = {name: asdict(limit) for name, limit in limits.items()}
    rows = [_run_row(feed, name, run) for feed, named in runs.items() for name, run in named.items()]
    rows += [_peer_row(_PEER_NAMES[name], peer) for name, peer in {**peers, **limits}.items()]
    title = (
        f"ingest, wire to committed row: {result['store']}, {result['machine']}, {options.seconds:g} s each"
    )
    is_right = all(run.is_right for named in runs.values() for run in named.values())
    return Report(title, _COLUMNS, rows, result), is_right


def _arguments() -> argparse.Namespace:
    arguments = parser("ingest", "Measures the ingest daemon from the wire to a committed row.")
    arguments.add_argument("--seconds", type=float, default=60.0, help="of each run (default: %(default)g)")
    arguments.add_argument("--feeds", nargs="+", choices=FEEDS, default=FEEDS, help="default: both")
    arguments.add_argument(
        "--rate", type=float, help="updates a second of the first run, instead of as many as are taken"
    )
    arguments.add_argument(
        "--in-flight",
        type=int,
        help="updates under way at once without --rate (default: 5000 for the official feed, whose client the"
        " daemon closes when they wait for 5 s inside it, and 100000 for tlcp)",
    )
    arguments.add_argument(
        "--fast-rate", type=float, default=FAST_RATE_PER_S,
        help="updates a second of the tlcp feed's third run (default: %(default)g)",
    )  # fmt: skip
    arguments.add_argument(
        "--peer-seconds", type=float, default=5.0, help="of each peer and limit (default: %(default)g)"
    )
    return arguments.parse_args()


def _loads(feed: str, options: argparse.Namespace) -> dict[str, Load]:
    first = Load(options.seconds, options.rate, 0 if options.rate else options.in_flight or IN_FLIGHT[feed])
    loads = {"sustained": first, "feed": Load(options.seconds, FEED_RATE_PER_S)}
    return loads | ({"fast": Load(options.seconds, options.fast_rate)} if feed == "tlcp" else {})


def _summary(runs: dict[str, RunResult]) -> dict[str, Any]:
    """Rate, CPU and memory under the first load, delays at the station's rate, losses of all runs."""
    sustained, slow = runs["sustained"], runs["feed"]
    return {
        "rate_per_s": round(sustained.rate_per_s),
        "lost": sum(run.comparison.lost for run in runs.values()),
        "doubled": sum(run.comparison.doubled for run in runs.values()),
        "p50_ms": slow.p50_ms,
        "p99_ms": slow.p99_ms,
        "cpu_us_per_msg": sustained.cpu_us_per_msg,
        "peak_rss_mb": max(run.peak_rss_mb for run in runs.values()),
        "checksums_match": all(run.comparison.is_same for run in runs.values()),
        "runs": {name: asdict(run) for name, run in runs.items()},
    }


def _run_row(feed: str, name: str, run: RunResult) -> tuple[str, ...]:
    load = run.load
    offered = f"{load.in_flight:,} in flight" if load.rate_per_s is None else f"{load.rate_per_s:,.0f}/s"
    checksum = "" if run.comparison.is_same else " (checksum differs)"
    return (
        f"{feed} feed", offered, number(run.rate_per_s), f"{run.comparison.lost:,}{checksum}",
        f"{run.comparison.doubled:,}", number(run.p50_ms), number(run.p99_ms), number(run.max_ms),
        number(run.cpu_us_per_msg, 1), number(run.peak_rss_mb),
    )  # fmt: skip


def _peer_row(name: str, peer: Peer) -> tuple[str, ...]:
    return (
        name,
        "ready rows",
        number(peer.rate_per_s),
        *(NOTHING,) * 5,
        number(peer.cpu_us_per_msg, 1),
        NOTHING,
    )


if __name__ == "__main__":
    sys.exit(main())
