"""How soon after the reading that decides it a visit is an event, and a post, in the whole stack; then how
soon changes of states are events.

A PeeBot of the benchmark's own (`peebot up`, dry run, no cooldown) listens to a feed with the station's usual
traffic. At a chance moment the urine tank rises by 2 %; the second percent decides that it was a visit: it
is over since minutes, as after a loss of signal, so that nothing else has to be waited for. Counted are the
moments at which another connection sees the commits of that reading, of the event, and of the post.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import psutil
import psycopg

from benchmarks.harness.event_log import EventLog, Seen
from benchmarks.harness.own_stack import OwnStack, own_stack
from benchmarks.harness.quantiles import Weighted
from benchmarks.harness.report import (
    Report,
    circumstances,
    number,
    parser,
    progress,
    run,
)
from benchmarks.harness.scratch_store import describe_store
from benchmarks.harness.state_trials import HOPS, STATES, state_trials
from benchmarks.harness.usual_traffic import HOURS_BEFORE, store_hours_before
from peebot_local.settings import Settings

LEVEL, STATE = "NODE3000005", "NODE3000004"
QUIET = frozenset({LEVEL, STATE, *STATES})
"""Items that say nothing but what they are told."""
BETWEEN_VISITS = timedelta(minutes=5)
"""Of event time: more than separates two visits."""
PAUSE_S = (6.0, 16.0)
"""Before each visit; longer than the loop of the sensor daemon: no visit finds the state of the last one."""
_TRIAL_S = 60.0
_WARM_UP_S = 240.0
_COLUMNS = ("hop", "p50", "p95", "p99", "max", "n")
_QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


@dataclass(frozen=True)
class Trial:
    """The moments (seconds since 1970) of one visit: sent, and seen as committed."""

    sent: float
    reading: float
    event: float
    post: float


def main() -> int:
    """Run the command line."""
    options = _arguments()
    return run("latency", lambda: measure(Settings.from_environment(os.environ), options), options)


def measure(settings: Settings, options: argparse.Namespace) -> Report:
    """Start everything, make the visits, stop everything."""
    flags = ("--celery",) if options.celery else ()
    environment = {
        "PEEBOT_POSTS": "dry_run",
        "PEEBOT_POST_COOLDOWN_MINUTES": "0",
        "PEEBOT_POST_FRESHNESS_MINUTES": str(7 * 24 * 60),
    }
    with _visit_source() as source, own_stack(settings, source.url, environment, flags) as stack:
        source.wait_until_subscribed(stack)
        result: dict[str, Any] = circumstances(describe_store(stack.database_url))
        first_at = datetime.now(UTC) - (options.n + 3) * BETWEEN_VISITS
        channels = _prepare(stack.database_url, first_at)
        with EventLog(stack.database_url) as log:
            trials = list(_trials(stack, source, log.seen, channels, first_at, options.n))
            changes = state_trials(stack, source, log.seen, channels, options.states)
        result["load_average_after"] = round(psutil.getloadavg()[0], 2)
    hops = {
        "wire_to_row_ms": [1000 * (trial.reading - trial.sent) for trial in trials],
        "row_to_event_s": [trial.event - trial.reading for trial in trials],
        "row_to_post_s": [trial.post - trial.reading for trial in trials],
        **{hop: [change.delays[hop] for change in changes] for hop in HOPS if changes},
    }
    result |= {
        "n": len(trials),
        "states": len(changes),
        "launcher": "celery" if options.celery else "default",
    }
    result |= {hop: _quantiles(values) for hop, values in hops.items()}
    load = f"load {result['load_average_before']} to {result['load_average_after']}"
    title = f"latency with the {result['launcher']} launcher: {result['store']}, {result['machine']}, {load}"
    return Report(title, _COLUMNS, [_row(hop, values) for hop, values in hops.items()], result)


def _arguments() -> argparse.Namespace:
    arguments = parser("latency", "Measures how soon a visit is an event, and a post.")
    arguments.add_argument("--n", type=int, default=40, help="visits to make (default: %(default)d)")
    arguments.add_argument(
        "--states", type=int, default=10, help="changes of each state to make then (default: %(default)d)"
    )
    arguments.add_argument("--celery", action="store_true", help="with warm workers: peebot up --celery")
    return arguments.parse_args()


class _Source:
    """The feed, in its own process."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        self.url = str(self._next(60.0)["url"])

    def wait_until_subscribed(self, stack: OwnStack) -> None:
        stack.wait_for(lambda: not self._lines.empty(), "the daemon subscribes all channels")
        self._next(1.0)

    def send(self, updates: Iterable[tuple[str, datetime, str]]) -> float:
        """Publish; when that was (seconds since 1970)."""
        assert self._process.stdin is not None  # noqa: S101  it is a pipe
        line = [[item, at.timestamp(), value] for item, at, value in updates]
        self._process.stdin.write(json.dumps(line) + "\n")
        self._process.stdin.flush()
        return float(self._next(30.0)["sent_at"])

    def _next(self, timeout_s: float) -> Any:
        return json.loads(self._lines.get(timeout=timeout_s))

    def _read(self) -> None:
        assert self._process.stdout is not None  # noqa: S101  it is a pipe
        for line in self._process.stdout:
            self._lines.put(line)


@contextmanager
def _visit_source() -> Iterator[_Source]:
    with subprocess.Popen(  # noqa: S603
        [sys.executable, "-P", "-m", "benchmarks.harness.visit_source", *sorted(QUIET)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield _Source(process)
        finally:
            process.kill()


def _prepare(database_url: str, first_at: datetime) -> dict[str, int]:
    """Say that the link was live all the time in which the visits will have been; the channels' ids."""
    with psycopg.connect(database_url) as connection:
        progress(f"the {HOURS_BEFORE} before …")
        store_hours_before(connection, QUIET)
        connection.execute(
            "INSERT INTO link_interval (source, state, started_at, last_seen_at, ended_at)"
            " VALUES ('bench', 'LIVE', %(start)s, now(), now())",
            {"start": first_at - timedelta(days=1)},
        )
        rows = connection.execute("SELECT item_id, channel_id FROM telemetry_channel").fetchall()
    return dict(rows)


def _trials(
    stack: OwnStack, source: _Source, seen: Seen, channels: Mapping[str, int], first_at: datetime, count: int
) -> Iterator[Trial]:
    rows = seen.readings[channels[LEVEL]]
    chance = random.Random()  # noqa: S311
    before = first_at - timedelta(hours=2)
    # A fall and a percent back: of the sensor's backlash of 1 % nothing is left to hide the next rise.
    levels = ((0, "24"), (20, "19"), (40, "20"))
    source.send(
        [(STATE, before, "4"), *((LEVEL, before + timedelta(minutes=at), level) for at, level in levels)]
    )
    progress("the first visit, which waits for Dagster's daemon …")
    _trial(stack, source, seen, rows, first_at, _WARM_UP_S)
    for index in range(1, count + 1):
        time.sleep(chance.uniform(*PAUSE_S))
        trial = _trial(stack, source, seen, rows, first_at + index * BETWEEN_VISITS, _TRIAL_S)
        told = f"event {trial.event - trial.reading:.2f} s, post {trial.post - trial.reading:.2f} s"
        progress(f"visit {index} of {count}: {told}")
        yield trial


def _trial(
    stack: OwnStack, source: _Source, seen: Seen, rows: Sequence[float], at: datetime, timeout_s: float
) -> Trial:
    """One visit, and the drain that takes the level back before the next."""
    visits = seen.events["toilet_visit"]
    rows_before, events, posts = len(rows), set(visits), set(seen.posts)
    sent = source.send([(LEVEL, at, "21"), (LEVEL, at + timedelta(seconds=6), "22")])
    stack.wait_for(lambda: bool(seen.posts.keys() - posts), "a post follows a visit", timeout_s)
    (post,) = seen.posts.keys() - posts
    (event,) = visits.keys() - events
    # The two readings may be committed one after the other: the second decides.
    reading = max(moment for moment in rows[rows_before:] if moment <= visits[event])
    trial = Trial(sent, reading, visits[event], seen.posts[post])
    drain = ((60, "21"), (120, "20"), (180, "19"), (240, "20"))
    source.send([(LEVEL, at + timedelta(seconds=after_s), level) for after_s, level in drain])
    return trial


def _quantiles(values: Sequence[float]) -> dict[str, float]:
    weighted = Weighted.of_each(values)
    return {name: round(weighted.quantile(share) or 0.0, 3) for name, share in _QUANTILES.items()}


def _row(hop: str, values: Sequence[float]) -> tuple[str, ...]:
    digits = 0 if hop.endswith("_ms") else 2
    return (
        hop,
        *(number(figure, digits) for figure in _quantiles(values).values()),
        number(max(values), digits),
        number(len(values)),
    )


if __name__ == "__main__":
    sys.exit(main())
