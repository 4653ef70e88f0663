"""How fast the Dagster UI answers with a month behind it, and how soon the live page shows what is committed.

A PeeBot of the benchmark's own runs on a simulated station; Dagster's database is filled as after a month
(benchmarks/harness/dagster_history.py). A browser opens the pages once; what it asked of GraphQL is asked
again and timed, so the questions are those of the real UI.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from benchmarks.harness.browser import open_browser
from benchmarks.harness.own_stack import OwnStack, own_stack
from benchmarks.harness.pixels import commit_to_pixel_s
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
from peebot_local.database import dagster_environment
from peebot_local.errors import MendableError
from peebot_local.settings import Settings

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Request

    from benchmarks.harness.dagster_history import History

PAGES = {
    "asset page": "assets/urine_tank_events?view=overview",
    "asset page, events": "assets/telemetry_reading?view=events",
    "station report": "assets/station_report?view=overview",
    "lineage": "asset-groups",
    "run list": "runs",
}
_COLUMNS = ("page", "questions", "p50 s", "p99 s", "slowest question")
_LOADED_MS = 6000


@dataclass(frozen=True)
class Question:
    """What the UI asks of GraphQL: the operation's name and the body of the request."""

    operation: str
    body: bytes


def main() -> int:
    """Run the command line."""
    options = _arguments()
    return run("ui", lambda: measure(Settings.from_environment(os.environ), options), options)


def measure(settings: Settings, options: argparse.Namespace) -> Report:
    """Start everything, make the month, look, ask, stop everything."""
    with (
        _simulator() as url,
        own_stack(settings, url, {"PEEBOT_POSTS": "dry_run"}) as stack,
        open_browser() as browser,
    ):
        state = stack.home.running()
        if state is None or state.ui_url is None or state.live_url is None:
            raise MendableError("the PeeBot that is measured has ended")
        result: dict[str, Any] = circumstances(describe_store(stack.database_url))
        history = _fill(stack)
        questions = {page: _asked(browser, f"{state.ui_url}/{path}") for page, path in PAGES.items()}
        times = _ask_all(state.ui_url, questions, options.requests)
        pixels = commit_to_pixel_s(browser, state.live_url, stack.database_url, options.n)
    everything = Weighted.of_each(second for each in times.values() for _, second in each)
    pixel = Weighted.of_each(pixels)
    result |= {
        "runs": history.runs,
        "events": history.events,
        "ticks": history.ticks,
        "p50_s": everything.quantile(0.5),
        "p99_s": everything.quantile(0.99),
        "pages": {page: _quantiles([s for _, s in each]) for page, each in times.items()},
        "commit_to_pixel_s": {"n": len(pixels), **_quantiles(pixels)},
    }
    rows = [_row(page, each) for page, each in times.items()]
    rows.append(("all", str(sum(map(len, times.values()))), *_figures(everything), ""))
    rows.append(("live page, commit to pixel", str(len(pixels)), *_figures(pixel), ""))
    title = (
        f"ui, with {history.runs:,} runs, {history.events:,} events and {history.ticks:,} ticks in Dagster's"
        f" database: {result['store']}, {result['machine']}"
    )
    return Report(title, _COLUMNS, rows, result)


def _arguments() -> argparse.Namespace:
    arguments = parser("ui", "Measures how fast the UI answers and the live page shows.")
    arguments.add_argument("--requests", type=int, default=200, help="of each page (default: %(default)d)")
    arguments.add_argument(
        "--n", type=int, default=100, help="levels on the live page (default: %(default)d)"
    )
    return arguments.parse_args()


@contextmanager
def _simulator() -> Iterator[str]:
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "iss_simulator", "station"], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None  # noqa: S101  it is a pipe
        try:
            yield json.loads(process.stdout.readline())["url"]
        finally:
            process.terminate()


def _fill(stack: OwnStack) -> History:
    # Each event is a transaction of its own: the month need not be safe on disk while it is made.
    hasty = {"PGOPTIONS": "-c synchronous_commit=off"}
    with patch.dict(os.environ, {**dagster_environment(stack.database_url, stack.home.dagster), **hasty}):
        import dagster as dg
        from dagster._core.definitions.run_request import InstigatorType
        from dagster._core.remote_origin import RemoteRepositoryOrigin

        from benchmarks.harness.dagster_history import Automation, make_history
        from peebot_dagster.detectors.registry import DETECTORS

        def known() -> bool:
            states = instance.all_instigator_state()
            return {"feed_state", "live_detection"} <= {state.instigator_name for state in states}

        with dg.DagsterInstance.get() as instance:
            stack.wait_for(known, "its sensors run", 120)
            states = instance.all_instigator_state()
            origin: RemoteRepositoryOrigin = states[0].origin.repository_origin
            automations = [
                Automation(
                    name=state.instigator_name,
                    origin_id=state.instigator_origin_id,
                    selector_id=state.selector_id,
                    kind=state.instigator_type,
                    every=timedelta(seconds=60 if state.instigator_type == InstigatorType.SCHEDULE else 30),
                )
                for state in states
            ]
            return make_history(
                instance, origin, automations, [f"{name}_events" for name in DETECTORS], datetime.now(UTC)
            )


def _asked(browser: Browser, url: str) -> list[Question]:
    """What the UI asks when this page is opened."""
    asked: list[Question] = []

    def note(request: Request) -> None:
        if request.url.endswith("/graphql") or "/graphql?" in request.url:
            body = request.post_data_buffer
            if body is not None:
                asked.append(Question(str(json.loads(body).get("operationName")), body))

    page = browser.new_page(viewport={"width": 1500, "height": 950})
    page.on("request", note)
    page.goto(url)
    page.wait_for_timeout(_LOADED_MS)
    page.close()
    if not asked:
        raise MendableError(f"the UI asked nothing at {url}")
    return asked


def _ask_all(
    ui_url: str, questions: Mapping[str, Sequence[Question]], requests: int
) -> dict[str, list[tuple[str, float]]]:
    """For each page `requests` of its questions by chance: which it was, and the seconds to its answer."""
    chance = random.Random(11)  # noqa: S311
    times: dict[str, list[tuple[str, float]]] = {}
    for page, asked in questions.items():
        progress(f"{requests} requests of the {page} …")
        times[page] = []
        for _ in range(requests):
            question = chance.choice(asked)
            times[page].append((question.operation, _ask(ui_url, question)))
    return times


def _ask(ui_url: str, question: Question) -> float:
    request = urllib.request.Request(  # noqa: S310  always http on loopback
        f"{ui_url}/graphql", question.body, {"Content-Type": "application/json"}
    )
    began = time.monotonic()
    with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310
        answer = json.load(response)
    seconds = time.monotonic() - began
    if answer.get("errors"):
        raise MendableError(f"{question.operation}: {answer['errors'][0]['message']}")
    return seconds


def _quantiles(values: Sequence[float]) -> dict[str, float | None]:
    weighted = Weighted.of_each(values)
    return {"p50": weighted.quantile(0.5), "p99": weighted.quantile(0.99)}


def _row(page: str, times: Sequence[tuple[str, float]]) -> tuple[str, ...]:
    slowest, _ = max(times, key=lambda each: each[1])
    return (page, str(len(times)), *_figures(Weighted.of_each(s for _, s in times)), slowest)


def _figures(values: Weighted) -> tuple[str, str]:
    return number(values.quantile(0.5), 3), number(values.quantile(0.99), 3)


if __name__ == "__main__":
    sys.exit(main())
