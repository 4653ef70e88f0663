"""Commands that run something: all of PeeBot, a part of it, its tests or a benchmark."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from peebot_local.commands.options import SIGNALS, console, settings_of_environment
from peebot_local.errors import MendableError
from peebot_local.home import Home
from peebot_local.interruption import StopRequested

PROJECT = Path(__file__).resolve().parents[2]


def up(
    celery: Annotated[bool, typer.Option(help="Give Dagster's runs to warm workers (Redis).")] = False,
) -> None:
    """Run everything on NASA's live feed (PEEBOT_FEED_URL), until Ctrl-C."""
    from peebot_local.runner import run
    from peebot_local.up import up_plan

    settings = settings_of_environment()
    run(settings, lambda home: up_plan(settings, home, celery), SIGNALS, console())


def demo() -> None:
    """Run everything on a simulated station with two days behind it, offline, until Ctrl-C."""
    from peebot_local.demo import demo_plan
    from peebot_local.runner import run

    run(settings_of_environment().for_demo(), demo_plan, SIGNALS, console())


def test(context: typer.Context) -> None:
    """Run the tests, on each processor some; further arguments go to pytest."""
    os.chdir(PROJECT)
    names_tests = any(Path(argument.partition("::")[0]).exists() for argument in context.args)
    # One more than there are processors, as each waits for a third of its time. The tests of a file share
    # what is slow to make. Last: what the user gives counts.
    side_by_side = [] if names_tests else ["-n", str((os.cpu_count() or 1) + 1), "--dist", "loadfile"]
    os.execv(sys.executable, [sys.executable, "-m", "pytest", *side_by_side, *context.args])  # noqa: S606


def ingest(context: typer.Context) -> None:
    """Run only the ingest daemon; further arguments go to it (--help lists them)."""
    from peebot_local.open_store import open_store

    settings = settings_of_environment()
    command = [sys.executable, "-P", "-m", "ingest_daemon", "--server", settings.feed_url, *context.args]
    if {"-h", "--help"} & set(context.args):
        os.execv(command[0], command)  # noqa: S606
    with open_store(settings, SIGNALS, create=True) as url:
        _run_in_front(command, {"PEEBOT_DATABASE_URL": url})


def simulate(context: typer.Context) -> None:
    """Run only the simulated station; further arguments go to it, as in: simulate station --seed 7."""
    arguments = context.args or ["station"]
    os.execv(sys.executable, [sys.executable, "-P", "-m", "iss_simulator", *arguments])  # noqa: S606


def live(context: typer.Context) -> None:
    """Run only the live page, for what is stored; further arguments go to it (--help lists them)."""
    command = [sys.executable, "-P", "-m", "peebot_live", *context.args]
    if {"-h", "--help"} & set(context.args):
        os.execv(command[0], command)  # noqa: S606
    from peebot_local.open_store import open_store

    with open_store(settings_of_environment(), SIGNALS) as url:
        _run_in_front(command, {"PEEBOT_DATABASE_URL": url})


def bench(
    context: typer.Context, name: Annotated[str, typer.Argument(help="A script in benchmarks/.")] = ""
) -> None:
    """Run a benchmark; further arguments go to it, as in: bench ingest --json FILE."""
    folder = PROJECT / "benchmarks"
    known = sorted(script.stem for script in folder.glob("[a-z]*.py"))
    if name not in known:
        raise MendableError(f"no benchmark is named {name!r}; there is {', '.join(known) or 'none yet'}")
    os.execv(sys.executable, [sys.executable, "-P", str(folder / f"{name}.py"), *context.args])  # noqa: S606


def env() -> None:
    """Print the environment of the running PeeBot, for: eval "$(./peebot env)"; dg dev"""
    from peebot_local.database import dagster_environment, prepare_dagster_home
    from peebot_local.open_store import require_store, running_store
    from peebot_local.warm_workers import BROKER, workers_of

    settings = settings_of_environment()
    url = require_store(settings)
    running = running_store(settings)
    dagster_home = (running.home if running else Home(settings.home)).dagster
    variables = {**dagster_environment(url, dagster_home), **(running.state.environment if running else {})}
    if running is None:
        # Else the settings are those of what runs, which knows best which launcher it has.
        prepare_dagster_home(dagster_home, workers_of(os.environ) if os.environ.get(BROKER) else None)
    for variable, value in variables.items():
        typer.echo(f"export {variable}={shlex.quote(value)}")


def _run_in_front(command: list[str], environment: dict[str, str]) -> None:
    process = subprocess.Popen(command, env={**os.environ, **environment})  # noqa: S603
    try:
        code = process.wait()
    except StopRequested:
        process.terminate()
        code = process.wait()
    if code:
        raise typer.Exit(code)
