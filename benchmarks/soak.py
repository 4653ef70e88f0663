"""The whole stack for a while with faults at random moments: what grows, what is lost, what is done twice.

A PeeBot of the benchmark's own (`peebot up`, no cooldown) listens to a simulated station that writes down
what it says and what really happens, and posts to a timeline of the benchmark's own. From a seed, its feed
fails in all ways that the simulator knows, its processes are killed, its PostgreSQL is stopped, and the
database throws everybody out. The exit code is 1 when a promise is broken.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import psycopg

from benchmarks.harness import soak_events, soak_readings
from benchmarks.harness.own_stack import OwnStack, own_stack
from benchmarks.harness.report import NOTHING, Report, circumstances, number, parser, progress, run
from benchmarks.harness.scratch_store import describe_store
from benchmarks.harness.slopes import Trend, trend
from benchmarks.harness.soak_chart import draw
from benchmarks.harness.soak_events import EventsVerdict
from benchmarks.harness.soak_faults import Fault, Saboteur, plan
from benchmarks.harness.soak_readings import ReadingsVerdict, Said, Stretch
from benchmarks.harness.soak_samples import Samples
from benchmarks.harness.soak_timeline import Timeline
from benchmarks.harness.soak_verdict import broken_promises, memory_is_judged
from peebot_dagster.detectors.registry import DETECTORS
from peebot_local.errors import MendableError
from peebot_local.settings import Settings

QUIET_S = 90.0
"""Without a fault, at the end: what is open comes to its end."""
_FIRST_VISIT_S = 150.0
_SETTLED_S = 60.0
_SHARED_BUFFERS = "SELECT pg_size_bytes(current_setting('shared_buffers')) / 1e6"
_SLACK = timedelta(seconds=0.3)
_COLUMNS = ("what", "MB, mean", "MB, most", "MB an hour", "minutes looked at", "starts")


@dataclass(frozen=True)
class _Source:
    """The station's process, and where it writes."""

    process: psutil.Process
    url: str
    log: Path
    truth: Path


@dataclass(frozen=True)
class _Outcome:
    readings: ReadingsVerdict
    events: EventsVerdict
    spool_bytes: int
    shared_buffers_mb: float
    ledger: dict[str, int]


def main() -> int:
    """Run the command line."""
    options = _arguments()
    broken: list[str] = []
    code = run("soak", lambda: measure(Settings.from_environment(os.environ), options, broken), options)
    for promise in broken:
        sys.stderr.write(f"peebot bench soak: broken: {promise}\n")
    return code or int(bool(broken))


def measure(settings: Settings, options: argparse.Namespace, broken: list[str]) -> Report:
    """Start everything, let it fail, look at what is stored, stop everything; `broken` gets the verdict."""
    seconds = 60 * options.minutes
    if seconds < QUIET_S + 60:
        raise MendableError("--minutes: 3 is the least")
    timeline = Timeline()
    with (
        timeline.serving(),
        tempfile.TemporaryDirectory(prefix="peebot-soak-") as folder,
        _station(options, Path(folder)) as source,
        own_stack(settings, source.url, _posting_to(timeline)) as stack,
    ):
        result: dict[str, Any] = circumstances(describe_store(stack.database_url))
        began = time.time()
        with closing(Samples(stack, source.process, options.sample_seconds)) as samples:
            faults = _sabotage(stack, source, options, began + seconds)
        outcome = _outcome(stack, source, timeline)
        result["load_average_after"] = round(psutil.getloadavg()[0], 2)
    warm_up_s = min(180.0, seconds / 5)
    memory = {name: trend(taken, warm_up_s) for name, taken in samples.memory.items()}
    disk = {name: trend(taken, warm_up_s) for name, taken in samples.disk.items()}
    broken += broken_promises(
        outcome.readings, outcome.events, memory, disk, outcome.spool_bytes, outcome.shared_buffers_mb
    )
    lives = {name: len({sample.life for sample in taken}) for name, taken in samples.memory.items()}
    result |= {
        "seed": options.seed,
        "minutes": options.minutes,
        "faults": [
            {
                "name": fault.name,
                "minute": round((fault.began - began) / 60, 2),
                "recovered_s": round(fault.recovered - fault.began, 1),
            }
            for fault in faults
        ],
        "memory_mb": {name: _figures(figures, lives[name]) for name, figures in memory.items()},
        "disk_mb": {name: _figures(figures) for name, figures in disk.items()},
        "readings": asdict(outcome.readings),
        "events": asdict(outcome.events),
        "ledger": outcome.ledger,
        "broken": broken,
    }
    if options.chart is not None:
        draw(options.chart, samples.memory, faults, began)
    rows = [_row(name, figures, lives[name]) for name, figures in memory.items()]
    rows += [_row(f"disk: {name}", figures) for name, figures in disk.items()]
    return Report(_title(result, outcome, faults, memory_is_judged(memory)), _COLUMNS, rows, result)


def _posting_to(timeline: Timeline) -> dict[str, str]:
    """The settings with which PeeBot posts what a simulated station does, each event, and to there."""
    return {
        "PEEBOT_POSTS": "mastodon",
        "PEEBOT_POST_ORIGINS": "demo",
        "PEEBOT_POST_COOLDOWN_MINUTES": "0",
        "PEEBOT_MASTODON_URL": timeline.url,
        "PEEBOT_MASTODON_ACCESS_TOKEN": "of-a-timeline-of-the-soaks-own",
    }


def _arguments() -> argparse.Namespace:
    arguments = parser("soak", "Lets the whole stack fail for a while, and looks at what is left.")
    arguments.add_argument("--minutes", type=float, default=90.0, help="default: %(default)g")
    arguments.add_argument("--seed", type=int, default=1, help="of station and faults (default: %(default)d)")
    arguments.add_argument(
        "--visit-every",
        type=float,
        default=300.0,
        metavar="SECONDS",
        help="200 at least (default: %(default)g)",
    )
    arguments.add_argument(
        "--pause",
        type=float,
        default=60.0,
        metavar="SECONDS",
        help="longest pause between two faults; the least is a quarter of it (default: %(default)g)",
    )
    arguments.add_argument(
        "--sample-seconds", type=float, default=10.0, help="between two looks (default: %(default)g)"
    )
    arguments.add_argument("--chart", type=Path, metavar="FILE", help="draw memory over time: .png or .svg")
    arguments.add_argument("--keep", type=Path, metavar="FOLDER", help="keep what the station has said there")
    return arguments.parse_args()


@contextmanager
def _station(options: argparse.Namespace, folder: Path) -> Iterator[_Source]:
    if options.keep is not None:
        options.keep.mkdir(parents=True, exist_ok=True)
        folder = options.keep
    log, truth = folder / "said.tsv", folder / "truth.jsonl"
    truth.unlink(missing_ok=True)
    visits = ("--first-visit-after", str(_FIRST_VISIT_S), "--visit-every", str(options.visit_every))
    files = ("--log", str(log), "--truth", str(truth))
    command = [sys.executable, "-P", "-m", "benchmarks.harness.soak_source", *visits, *files]
    with subprocess.Popen(  # noqa: S603
        [*command, "--seed", str(options.seed)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None  # noqa: S101  it is a pipe
        try:
            url = json.loads(process.stdout.readline())["url"]
            yield _Source(psutil.Process(process.pid), url, log, truth)
        finally:
            process.terminate()


def _sabotage(stack: OwnStack, source: _Source, options: argparse.Namespace, until: float) -> list[Fault]:
    """Fault after fault, and then some quiet."""
    saboteur, never = Saboteur(stack, source.url), threading.Event()
    seconds = until - time.time()
    faults: list[Fault] = []
    for planned in plan(options.seed, seconds - QUIET_S, options.pause):
        if time.time() + planned.pause_s + planned.seconds > until - QUIET_S:
            break
        time.sleep(planned.pause_s)
        stack.require_alive()
        fault = saboteur.do(planned, never)
        faults.append(fault)
        progress(
            f"fault {len(faults)}: {fault.name}, recovered after {fault.recovered - fault.began:.1f} s; "
            f"{(until - time.time()) / 60:.1f} minutes are left"
        )
    time.sleep(max(0.0, until - time.time()))
    return faults


def _outcome(stack: OwnStack, source: _Source, timeline: Timeline) -> _Outcome:
    """Wait until all that was said by now is stored, then compare."""
    until = datetime.now(UTC)
    said = soak_readings.read_log(source.log, until.year)
    last = said[-1]
    with psycopg.connect(stack.database_url, autocommit=True) as connection:
        try:
            stack.wait_for(
                lambda: _is_stored(connection, last) and _spooled(stack) == 0,
                "the last reading is stored and the spool is empty",
                _SETTLED_S,
            )
        except MendableError as error:
            stack.require_alive()
            progress(f"{error}")
        stored = soak_readings.read_store(connection)
        link = soak_readings.read_link(connection)
        way = soak_readings.longest_way(connection)
        events = soak_events.read_events(connection)
        posted = soak_events.read_posted(connection)
        ledger = soak_events.read_ledger(connection)
        asked = tuple(timeline.keys)
        buffers = connection.execute(_SHARED_BUFFERS).fetchone()
    assert buffers is not None  # noqa: S101  it is a setting of each server
    spool_bytes = _spooled(stack)
    said = soak_readings.read_log(source.log, until.year)
    readings = soak_readings.compare(said, stored, link["LIVE"], _SLACK + way, last.at)
    truth = soak_events.read_truth(source.truth)
    since = datetime.fromtimestamp(next(update.at for update in said if update.listeners), UTC)
    hidden = soak_events.hidden_by_faults(link, truth, since, until)
    verdicts = []
    for detector in DETECTORS.values():
        late = until - max(timedelta(seconds=QUIET_S), 2 * detector.trigger_interval)
        ideal, due = (
            detector.detect(soak_events.unbroken(said, truth, detector.items, end)) for end in (until, late)
        )
        span = Stretch(since, until - timedelta(seconds=QUIET_S))
        verdicts.append(soak_events.compare(detector, truth, events, ideal, due, hidden, span))
    total = soak_events.with_posts(soak_events.total(verdicts), truth, events, posted, asked)
    return _Outcome(readings, total, spool_bytes, float(buffers[0]), ledger)


def _is_stored(connection: psycopg.Connection, update: Said) -> bool:
    item, ts, value, _ = update.key
    row = connection.execute(
        "SELECT FROM telemetry_reading r JOIN telemetry_channel c USING (channel_id)"
        " WHERE c.item_id = %s AND r.ts = %s AND r.raw_value = %s",
        (item, ts, value),
    ).fetchone()
    return row is not None


def _spooled(stack: OwnStack) -> int:
    """What waits for the database; a file that is written and removed meanwhile counts nothing."""
    total = 0
    for path in (stack.home.path / "spool").rglob("*.spool"):
        try:
            total += path.stat().st_size
        except FileNotFoundError:
            continue
    return total


def _figures(figures: Trend | None, starts: int | None = None) -> dict[str, float | int | None]:
    told: dict[str, float | int | None] = {} if starts is None else {"starts": starts}
    if figures is None:
        return told | {"per_hour": None}
    return told | {
        "per_hour": round(figures.per_hour, 2),
        "minutes": round(60 * figures.hours, 1),
        "mean": round(figures.mean, 1),
        "most": round(figures.most, 1),
    }


def _row(name: str, figures: Trend | None, starts: int | None = None) -> tuple[str, ...]:
    told = NOTHING if starts is None else number(starts)
    if figures is None:
        return (name, NOTHING, NOTHING, NOTHING, NOTHING, told)
    return (
        name,
        number(figures.mean),
        number(figures.most),
        number(figures.per_hour, 1),
        number(60 * figures.hours),
        told,
    )


def _title(result: dict[str, Any], outcome: _Outcome, faults: list[Fault], with_memory: bool) -> str:
    readings, events = outcome.readings, outcome.events
    where = f"{result['store']}, {result['machine']}"
    load = f"load {result['load_average_before']} to {result['load_average_after']}"
    fate = (
        f"{readings.said:,} readings sent, {readings.skipped:,} skipped by the feed in faults, "
        f"{readings.lost:,} lost, {readings.doubled + readings.strange:,} doubled or strange; "
        f"{events.true:,} events to tell, {events.hidden:,} hidden, {len(events.missed):,} missed, "
        f"{len(events.invented):,} invented, {len(events.doubled):,} doubled; "
        f"{events.posted:,} posts, {len(events.posted_twice):,} doubled, {len(events.astray):,} astray"
    )
    verdict = "kept" if not result["broken"] else "BROKEN"
    if not with_memory:
        verdict += " (too short to tell whether memory grows)"
    what = f"soak, {result['minutes']:g} minutes, {len(faults)} faults"
    return f"{what}: {where}, {load}; {fate}; promises {verdict}"


if __name__ == "__main__":
    sys.exit(main())
