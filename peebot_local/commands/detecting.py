"""Commands that run detectors by hand: on a recording, on what is stored, or on simulated stations."""

from __future__ import annotations

import json
import shlex
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from peebot_local.commands.options import (
    RECORDING_HELP,
    SIGNALS,
    AsJson,
    From,
    FromCsv,
    Item,
    To,
    Year,
    console,
    settings_of_environment,
)
from peebot_local.errors import MendableError


def detect(
    name: Annotated[str, typer.Argument(help="A detector, as in urine_tank.")],
    start: From = None,
    end: To = None,
    from_csv: FromCsv = None,
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
        events = detect_in_recording(detector, from_csv, item, year, start, end)
    elif start is not None and end is not None:
        with open_store(settings_of_environment(), SIGNALS) as url:
            events = detect_in_store(detector, url, start, end)
    else:
        raise MendableError("give --from and --to, or --from-csv FILE")
    if as_json:
        typer.echo(json.dumps(to_json(events)))
    else:
        console().print(as_table(events))


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
    from_csv: FromCsv = None,
    item: Item = None,
    year: Year = None,
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
        compared = compare_in_recording(detector, other, from_csv, item, year, start, end)
    elif from_csv is None and start is not None and end is not None:
        with open_store(settings_of_environment(), SIGNALS) as url:
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
            console().print(table)


def evaluate(
    name: Annotated[
        str | None,
        typer.Argument(
            help="A detector, as in urine_tank, or one on trial: module:attribute or file.py:attribute; "
            "all without one."
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(min=0, help="Simulated stations; 0 for none.")] = 20,
    days: Annotated[float, typer.Option(min=0.1, help="Days of each station that count.")] = 14.0,
    tolerance: Annotated[
        float, typer.Option(min=1, help="By how many seconds an event may begin too early or too late.")
    ] = 60.0,
    recording: Annotated[Path | None, typer.Option(help=RECORDING_HELP)] = None,
    item: Item = None,
    year: Year = None,
    labels: Annotated[
        Path | None, typer.Option(help="What is known of it: started_at,ended_at,kind.")
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Write a report: FILE.html or FILE.md.")] = None,
    as_json: Annotated[Path | None, typer.Option("--json", help="Write the figures as JSON.")] = None,
) -> None:
    """Tell how right a detector is: on simulated stations, whose truth is known, and on a recording."""
    from peebot_dagster.detectors.registry import DETECTORS
    from peebot_local.evaluate import check_labels, check_places, find, read, write
    from peebot_local.evaluate import evaluate as run

    chosen = DETECTORS if name is None else {name: find(name)}
    check_places(report, as_json)
    # A file without an item column is one channel: a single detector's first, as for `detect`.
    channel = item or (None if name is None else chosen[name].items[0])
    recorded = read(recording, labels, channel, year)
    check_labels(recorded, chosen.values())
    progress = Console(stderr=True)
    evaluations = []
    for reference, detector in chosen.items():
        stations = ["--seeds", str(seeds), *(("--days", f"{days:g}") if seeds else ())]
        of_file = {
            "--recording": recording and recording.name,
            "--item": item,
            "--year": year,
            "--labels": labels and labels.name,
        }
        if tolerance != 60:
            of_file["--tolerance"] = f"{tolerance:g}"
        given = [str(part) for option in of_file.items() if option[1] is not None for part in option]
        command = shlex.join(["./peebot", "evaluate", reference, *stations, *given])
        evaluation = run(detector, command, seeds, days, recorded, progress, timedelta(seconds=tolerance))
        if evaluation is not None:
            evaluations.append(evaluation)
            typer.echo(evaluation.markdown())
    if not evaluations:
        raise MendableError("there is nothing to evaluate: give --seeds, or a --recording of its channels")
    for path in write(evaluations, report, as_json):
        progress.print(f"written: {path}", markup=False, soft_wrap=True)
