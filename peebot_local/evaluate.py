"""`peebot evaluate`: how right a detector is, on simulated stations and on a recording."""

from __future__ import annotations

import json
from pathlib import Path

from rich.console import Console

from evaluation.labels import LabelError, read_labels
from evaluation.on_recording import evaluate_on_recording
from evaluation.on_stations import evaluate_on_stations
from evaluation.report import Evaluation
from peebot_dagster.detectors.detector import Detector
from peebot_dagster.detectors.recording import RecordingError, read_recording
from peebot_local.errors import MendableError


def evaluate(
    detector: Detector,
    command: str,
    seeds: int,
    days: float,
    recording: Path | None,
    labels: Path | None,
    console: Console,
) -> Evaluation:
    """Evaluate with progress on the console; no seeds: not on stations. MendableError for a bad file."""
    if labels is not None and recording is None:
        raise MendableError("--labels tells of a recording: give --recording, too")
    try:
        known = None if labels is None else read_labels(labels)
        window = None if recording is None else read_recording(recording, detector.items[0])
    except (RecordingError, LabelError) as error:
        raise MendableError(str(error)) from error
    with console.status(f"{detector.name}: …") as status:

        def progress(what: str) -> None:
            status.update(f"{detector.name}: {what}")

        stations = evaluate_on_stations(detector, seeds, days, progress=progress) if seeds else None
        recorded = (
            None
            if window is None or recording is None
            else evaluate_on_recording(detector, recording.name, window, known, progress=progress)
        )
    return Evaluation(detector, command, stations, recorded)


def write(evaluations: list[Evaluation], report: Path | None, as_json: Path | None) -> list[Path]:
    """Write the report and the JSON file that are wanted; with several detectors each gets its own report."""
    written: list[Path] = []
    try:
        if report is not None:
            for evaluation in evaluations:
                own = report.with_name(f"{report.stem}-{evaluation.detector.name}{report.suffix}")
                written += evaluation.write(report if len(evaluations) == 1 else own)
    except ValueError as error:
        raise MendableError(str(error)) from error
    if as_json is not None:
        figures = [evaluation.as_json() for evaluation in evaluations]
        as_json.write_text(json.dumps(figures[0] if len(figures) == 1 else figures) + "\n", encoding="utf-8")
        written.append(as_json)
    return written
