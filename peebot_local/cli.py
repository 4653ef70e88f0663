"""The `peebot` command line. What a command needs is imported when it runs, so that each starts quickly."""

from __future__ import annotations

import errno
import json
import os
import shlex
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from peebot_local.errors import MendableError
from peebot_local.home import Home
from peebot_local.interruption import StopRequested, StopSignals
from peebot_local.settings import Settings

app = typer.Typer(
    name="peebot",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Listens to the Space Station and tells the world when an astronaut has used the toilet.",
)
_PROJECT = Path(__file__).resolve().parent.parent
_PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
_SIGNALS = StopSignals()
_MENDABLE = {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS}


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no ISO 8601 time, as in 2025-01-02T06:00Z") from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


_TIME_HELP = "Begin, in ISO 8601; UTC unless it says otherwise."
_From = typer.Option("--from", parser=_moment, metavar="TIME", help=_TIME_HELP)
_To = typer.Option("--to", parser=_moment, metavar="TIME", help="End, exclusive.")
From = Annotated[datetime | None, _From]
To = Annotated[datetime | None, _To]
_RECORDING_HELP = "CSV, plain or .gz: ts_utc,value or ts_utc,item,value or timestamp_hours,item,value."
Item = Annotated[str | None, typer.Option(help="The channel of a recording without an item column.")]
Year = Annotated[
    int | None, typer.Option(min=1998, max=2261, help="The year of a recording in timestamp_hours.")
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON value on one line.")]


def _settings() -> Settings:
    return Settings.from_environment(os.environ)


def _console() -> Console:
    return Console(stderr=False)


@app.command()
def up(
    celery: Annotated[bool, typer.Option(help="Give Dagster's runs to warm workers (Redis).")] = False,
) -> None:
    """Run everything on NASA's live feed (PEEBOT_FEED_URL), until Ctrl-C."""
    from peebot_local.runner import run
    from peebot_local.up import up_plan

    settings = _settings()
    run(settings, lambda home: up_plan(settings, home, celery), _SIGNALS, _console())


@app.command()
def demo() -> None:
    """Run everything on a simulated station with two days behind it, offline, until Ctrl-C."""
    from peebot_local.demo import demo_plan
    from peebot_local.runner import run

    run(_settings().for_demo(), demo_plan, _SIGNALS, _console())


@app.command(context_settings=_PASS_ON)
def test(context: typer.Context) -> None:
    """Run the tests; further arguments go to pytest."""
    os.chdir(_PROJECT)
    os.execv(sys.executable, [sys.executable, "-m", "pytest", *context.args])  # noqa: S606


@app.command()
def migrate() -> None:
    """Bring PeeBot's and Dagster's databases to the newest schema."""
    from peebot_local.database import migrate_databases
    from peebot_local.display import Steps
    from peebot_local.open_store import open_store

    settings = _settings()
    step = Steps(_console()).step("Bringing the databases to the newest schema")
    with open_store(settings, _SIGNALS, create=True) as url, step:
        migrate_databases(url, Home(settings.home).dagster)


_Days = Annotated[int | None, typer.Option(min=1, max=36500, show_default=False)]


@app.command()
def retention(
    raw_days: _Days = None,
    minute_days: _Days = None,
    rejected_days: _Days = None,
    compress_after_days: _Days = None,
) -> None:
    """Show or change for how many days what is kept; a change takes effect at once."""
    from peebot_local.open_store import open_store
    from peebot_local.retention import change_settings, settings_table

    wanted = {
        "raw_retention_days": raw_days,
        "minute_retention_days": minute_days,
        "rejected_retention_days": rejected_days,
        "compress_after_days": compress_after_days,
    }
    with open_store(_settings(), _SIGNALS) as url:
        result = change_settings(url, {key: days for key, days in wanted.items() if days is not None})
    _console().print(settings_table(result))


@app.command()
def backup(file: Annotated[Path, typer.Argument(help="The file to write.")]) -> None:
    """Save PeeBot's and Dagster's databases in one file; what runs may go on."""
    from peebot_local.backup import backup as save
    from peebot_local.display import Steps
    from peebot_local.open_store import open_store

    with open_store(_settings(), _SIGNALS) as url:
        save(url, file.absolute(), datetime.now(UTC), Steps(_console()))


@app.command()
def restore(
    file: Annotated[Path, typer.Argument(help="A file that backup has written.")],
    force: Annotated[bool, typer.Option("--force", help="Replace databases that are not empty.")] = False,
) -> None:
    """Load a backup into empty databases, and bring it to the newest schema."""
    from peebot_local.backup import restore as load
    from peebot_local.display import Steps
    from peebot_local.open_store import open_store, running_store

    settings = _settings()
    running = running_store(settings)
    if running is not None:
        raise MendableError(f"PeeBot runs on {running.home.path} with pid {running.state.pid}; stop it first")
    with open_store(settings, _SIGNALS) as url:
        load(url, Home(settings.home).dagster, file.absolute(), force, Steps(_console()))


@app.command(context_settings=_PASS_ON)
def ingest(context: typer.Context) -> None:
    """Run only the ingest daemon; further arguments go to it (--help lists them)."""
    from peebot_local.open_store import open_store

    settings = _settings()
    command = [sys.executable, "-P", "-m", "ingest_daemon", "--server", settings.feed_url, *context.args]
    if {"-h", "--help"} & set(context.args):
        os.execv(command[0], command)  # noqa: S606
    with open_store(settings, _SIGNALS, create=True) as url:
        _run_in_front(command, {"PEEBOT_DATABASE_URL": url})


@app.command(context_settings=_PASS_ON)
def simulate(context: typer.Context) -> None:
    """Run only the simulated station; further arguments go to it, as in: simulate station --seed 7."""
    arguments = context.args or ["station"]
    os.execv(sys.executable, [sys.executable, "-P", "-m", "iss_simulator", *arguments])  # noqa: S606


@app.command()
def replay(
    file: Annotated[Path, typer.Argument(help=_RECORDING_HELP)],
    speed: Annotated[float, typer.Option(min=0.001, help="Seconds of the recording per real second.")] = 1.0,
    item: Item = None,
    start: From = None,
    stop: To = None,
) -> None:
    """Play a recording into a running `up`: through server, client, daemon and database."""
    from iss_simulator.recording import Recording
    from peebot_local.open_store import require_store, running_store
    from peebot_local.partitions import first_partition
    from peebot_local.replay import default_item, replay

    if start is not None and stop is not None and stop <= start:
        raise MendableError("--to must be later than --from")
    settings = _settings()
    url = require_store(settings)
    recording = Recording(file.absolute(), datetime.now(UTC), item or default_item(), start, stop)
    running = running_store(settings)
    first_hour = first_partition({**os.environ, **(running.state.environment if running else {})})
    replay(Home(settings.home / "replay"), _SIGNALS, url, recording, speed, first_hour, _console())


@app.command()
def detect(
    name: Annotated[str, typer.Argument(help="A detector, as in urine_tank.")],
    start: From = None,
    end: To = None,
    from_csv: Annotated[Path | None, typer.Option(help="A recording instead of the database.")] = None,
    item: Item = None,
    year: Year = None,
    as_json: AsJson = False,
) -> None:
    """Run a detector by hand and print its events; stores nothing."""
    from peebot_local.detect import as_json as to_json
    from peebot_local.detect import as_table, detect_in_recording, detect_in_store, find_detector
    from peebot_local.open_store import open_store

    detector = find_detector(name)
    if from_csv is not None:
        events = detect_in_recording(detector, from_csv, item, year)
    elif start is not None and end is not None:
        with open_store(_settings(), _SIGNALS) as url:
            events = detect_in_store(detector, url, start, end)
    else:
        raise MendableError("give --from and --to, or --from-csv FILE")
    if as_json:
        typer.echo(json.dumps(to_json(events)))
    else:
        _console().print(as_table(events))


@app.command()
def compare(
    name: Annotated[str, typer.Argument(help="A detector, as in urine_tank.")],
    candidate: Annotated[
        str | None,
        typer.Argument(
            help="The version on trial: module:attribute or file.py:attribute; else the stored one."
        ),
    ] = None,
    start: From = None,
    end: To = None,
    from_csv: Annotated[Path | None, typer.Option(help="A recording instead of the database.")] = None,
    item: Item = None,
    as_json: AsJson = False,
) -> None:
    """Show what another version of a detector would change; stores nothing."""
    from peebot_dagster.detectors.comparison import to_json
    from peebot_local.compare import (
        as_tables,
        compare_in_recording,
        compare_in_store,
        compare_stored,
        find_candidate,
    )
    from peebot_local.detect import find_detector
    from peebot_local.open_store import open_store

    detector = find_detector(name)
    other = None if candidate is None else find_candidate(candidate)
    if from_csv is not None and other is not None:
        compared = compare_in_recording(detector, other, from_csv, item)
    elif from_csv is None and start is not None and end is not None:
        with open_store(_settings(), _SIGNALS) as url:
            compared = (
                compare_stored(detector, url, start, end)
                if other is None
                else compare_in_store(detector, other, url, start, end)
            )
    else:
        raise MendableError("give --from and --to, or a candidate and --from-csv FILE")
    if as_json:
        typer.echo(json.dumps(to_json(compared)))
    else:
        for table in as_tables(compared):
            _console().print(table)


@app.command()
def evaluate(
    name: Annotated[str | None, typer.Argument(help="A detector, as in urine_tank; all without one.")] = None,
    seeds: Annotated[int, typer.Option(min=0, help="Simulated stations; 0 for none.")] = 20,
    days: Annotated[float, typer.Option(min=0.1, help="Days of each station that count.")] = 14.0,
    recording: Annotated[Path | None, typer.Option(help="A recorded CSV file, plain or .gz.")] = None,
    labels: Annotated[
        Path | None, typer.Option(help="What is known of it: started_at,ended_at,kind.")
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Write a report: FILE.html or FILE.md.")] = None,
    as_json: Annotated[Path | None, typer.Option("--json", help="Write the figures as JSON.")] = None,
) -> None:
    """Tell how right a detector is: on simulated stations, whose truth is known, and on a recording."""
    from peebot_dagster.detectors.registry import DETECTORS
    from peebot_local.detect import find_detector
    from peebot_local.evaluate import evaluate as run
    from peebot_local.evaluate import write

    detectors = [find_detector(name)] if name is not None else list(DETECTORS.values())
    if report is not None and report.suffix not in (".html", ".md"):
        raise MendableError(f"{report}: a report ends in .html or .md")
    progress = Console(stderr=True)
    evaluations = []
    for detector in detectors:
        command = shlex.join(
            ["./peebot", "evaluate", *_evaluate_arguments(detector.name, seeds, days, recording, labels)]
        )
        evaluations.append(run(detector, command, seeds, days, recording, labels, progress))
        typer.echo(evaluations[-1].markdown())
    for path in write(evaluations, report, as_json):
        progress.print(f"written: {path}", markup=False, soft_wrap=True)


def _evaluate_arguments(
    name: str, seeds: int, days: float, recording: Path | None, labels: Path | None
) -> list[str]:
    files = {"--recording": recording, "--labels": labels}
    named = [part for option, file in files.items() if file is not None for part in (option, file.name)]
    stations = ["--seeds", str(seeds), *(("--days", f"{days:g}") if seeds else ())]
    return [name, *stations, *named]


@app.command()
def status(as_json: AsJson = False) -> None:
    """Show the feed's state, what is stored, events, posts, and where the UI is."""
    import psycopg

    from peebot_local.database import mendable
    from peebot_local.display import status_table
    from peebot_local.open_store import open_store, running_store
    from peebot_local.status import read_status

    settings = _settings()
    running = running_store(settings)
    state = running.state if running else None
    home = running.home.path if running else settings.home
    with open_store(settings, _SIGNALS) as url, mendable(url), psycopg.connect(url) as connection:
        now = read_status(
            connection,
            datetime.now(UTC),
            str(home),
            state.ui_url if state else None,
            state.pid if state else None,
            state.metrics_url if state else None,
        )
    if as_json:
        typer.echo(now.model_dump_json())
    else:
        _console().print(status_table(now))


def _span(text: str) -> timedelta:
    from peebot_local.muting import span

    try:
        return span(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


@app.command()
def mute(
    length: Annotated[
        timedelta | None,
        typer.Option(
            "--for",
            parser=_span,
            metavar="SPAN",
            help="How long, as in 30m, 2h or 1d12h.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Post nothing, on no platform, at once: for a while, or until unmute."""
    from peebot_local.muting import silence
    from peebot_local.open_store import open_store

    with open_store(_settings(), _SIGNALS) as url:
        typer.echo(silence(url, datetime.now(UTC), length))


@app.command()
def unmute() -> None:
    """Post again."""
    from peebot_local.muting import speak
    from peebot_local.open_store import open_store

    with open_store(_settings(), _SIGNALS) as url:
        typer.echo(speak(url))


@app.command()
def compose(
    examples: Annotated[int, typer.Option(min=1, max=5_000, help="How many posts.")] = 10,
    seed: Annotated[int, typer.Option(help="Another number, another station.")] = 1,
    day: Annotated[
        datetime | None,
        typer.Option(
            "--date", parser=_moment, metavar="DATE", help="The day on which they begin, as in 2026-12-24."
        ),
    ] = None,
    event: Annotated[str, typer.Option(help="The type of event that they are about.")] = "toilet_visit",
) -> None:
    """Print posts about a made-up station, to read them before the world does; sends nothing."""
    from peebot_local.compose import show_examples

    show_examples(_console(), examples, seed, (day or datetime.now(UTC)).date(), event)


@app.command()
def backfill(start: Annotated[datetime, _From], end: Annotated[datetime, _To]) -> None:
    """Recompute telemetry_minute and all events of a span by a Dagster backfill of the running `up`."""
    from peebot_local.backfill import run_backfill
    from peebot_local.open_store import running_store
    from peebot_local.partitions import first_partition

    running = running_store(_settings())
    if running is None or running.state.ui_url is None:
        raise MendableError("no Dagster runs here; start './peebot up' (or demo) and wait for its UI")
    first_hour = first_partition({**os.environ, **running.state.environment})
    run_backfill(running.state.ui_url, start, end, first_hour, _console())


@app.command(context_settings=_PASS_ON)
def bench(
    context: typer.Context, name: Annotated[str, typer.Argument(help="A script in benchmarks/.")] = ""
) -> None:
    """Run a benchmark; further arguments go to it, as in: bench ingest --json FILE."""
    folder = _PROJECT / "benchmarks"
    known = sorted(script.stem for script in folder.glob("[a-z]*.py"))
    if name not in known:
        raise MendableError(f"no benchmark is named {name!r}; there is {', '.join(known) or 'none yet'}")
    os.execv(sys.executable, [sys.executable, "-P", str(folder / f"{name}.py"), *context.args])  # noqa: S606


@app.command()
def env() -> None:
    """Print the environment of the running PeeBot, for: eval "$(./peebot env)"; dg dev"""
    from peebot_local.database import dagster_environment, prepare_dagster_home
    from peebot_local.open_store import require_store, running_store

    settings = _settings()
    url = require_store(settings)
    running = running_store(settings)
    dagster_home = (running.home if running else Home(settings.home)).dagster
    variables = {**dagster_environment(url, dagster_home), **(running.state.environment if running else {})}
    prepare_dagster_home(dagster_home, celery="PEEBOT_CELERY_BROKER" in {**os.environ, **variables})
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


def main() -> None:
    """Run the command line: a fault that the user can mend is one line on stderr, and exit code 1."""
    errors = Console(stderr=True)
    try:
        with _SIGNALS.active():
            app(prog_name="peebot")
    except MendableError as error:
        for line in error.details:
            errors.print(f"    {line}", markup=False, highlight=False, soft_wrap=True)
        errors.print(f"peebot: {error}", markup=False, highlight=False, soft_wrap=True)
        sys.exit(1)
    except OSError as error:
        if error.errno not in _MENDABLE:
            raise
        place = f" ({error.filename})" if error.filename else ""
        errors.print(
            f"peebot: {error.strerror}{place}; mend that and start again", markup=False, soft_wrap=True
        )
        sys.exit(1)
    except StopRequested:
        sys.exit(130)
