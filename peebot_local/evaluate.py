"""`peebot evaluate`: how right a detector is, on simulated stations and on a recording."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rich.console import Console

from evaluation.labels import Label, LabelError, check_kinds, read_labels
from evaluation.on_recording import evaluate_on_recording
from evaluation.on_stations import TOLERANCE, evaluate_on_stations
from evaluation.report import Evaluation
from peebot_dagster.detectors.candidate import Candidate
from peebot_dagster.detectors.detector import Detector, Window
from peebot_dagster.detectors.recording import RecordingError, read_recording
from peebot_local.compare import find_candidate
from peebot_local.detect import find_detector
from peebot_local.errors import MendableError


@dataclass(frozen=True)
class Recorded:
    """A recording, and what somebody knows of it."""

    name: str
    window: Window
    labels: Sequence[Label] | None

    def of(self, detector: Detector) -> Window | None:
        """The readings of the detector's channels; None where there is none."""
        readings = self.window.readings[self.window.readings["item"].isin(detector.items)]
        return None if readings.empty else replace(self.window, readings=readings)


def find(reference: str) -> Detector:
    """The detector of that name, or the one that `module:attribute` or `file.py:attribute` names.

    A candidate is judged by what it makes known once it is in service.
    """
    if ":" not in reference:
        return find_detector(reference)
    found = find_candidate(reference)
    return found.detector if isinstance(found, Candidate) else found


def read(
    recording: Path | None, labels: Path | None, item: str | None, year: int | None = None
) -> Recorded | None:
    """The recording and its labels, None where none is wanted. MendableError for a bad file.

    `item` is the channel of a file that names none, `year` that of a file of the feed's hours; without it
    they are dated like the feed itself.
    """
    if recording is None:
        if labels is not None:
            raise MendableError("--labels tells of a recording: give --recording, too")
        return None
    try:
        known = None if labels is None else read_labels(labels)
        window = read_recording(recording, item, year=year, now=datetime.now(UTC))
    except (RecordingError, LabelError) as error:
        raise MendableError(str(error)) from error
    return Recorded(recording.name, window, known)


def check_labels(recorded: Recorded | None, detectors: Iterable[Detector]) -> None:
    """MendableError where none of the detectors tells of any label: nobody would hear of a misspelt kind."""
    if recorded is None or recorded.labels is None:
        return
    here = [detector for detector in detectors if recorded.of(detector) is not None]
    if not here:
        return
    try:
        check_kinds(recorded.labels, {kind for detector in here for kind in detector.event_types})
    except LabelError as error:
        raise MendableError(str(error)) from error


def evaluate(
    detector: Detector,
    command: str,
    seeds: int,
    days: float,
    recorded: Recorded | None,
    console: Console,
    tolerance: timedelta = TOLERANCE,
) -> Evaluation | None:
    """Evaluate with progress on the console; no seeds: not on stations. None where there is nothing to do.

    An event may begin so much earlier or later than what it tells of.
    """
    window = None if recorded is None else recorded.of(detector)
    if recorded is not None and window is None:
        console.print(
            f"{detector.name}: {recorded.name} holds none of its channels, so it is not evaluated on it",
            markup=False,
            soft_wrap=True,
        )
    if not seeds and window is None:
        return None
    with console.status(f"{detector.name}: …") as status:

        def progress(what: str) -> None:
            status.update(f"{detector.name}: {what}")

        stations = evaluate_on_stations(detector, seeds, days, tolerance, progress) if seeds else None
        on_recording = (
            None
            if window is None or recorded is None
            else evaluate_on_recording(detector, recorded.name, window, recorded.labels, tolerance, progress)
        )
    return Evaluation(detector, command, stations, on_recording)


def check_places(report: Path | None, as_json: Path | None) -> None:
    """MendableError where a report can't be written, before the work that it is to tell of."""
    if report is not None and report.suffix not in (".html", ".md"):
        raise MendableError(f"{report}: a report ends in .html or .md")
    for path in (report, as_json):
        if path is not None and not path.parent.is_dir():
            raise MendableError(f"{path}: there is no folder {path.parent}")


def write(evaluations: list[Evaluation], report: Path | None, as_json: Path | None) -> list[Path]:
    """Write the report and the JSON file that are wanted; with several detectors each gets its own report."""
    written: list[Path] = []
    try:
        if report is not None:
            for evaluation in evaluations:
                own = report.with_name(f"{report.stem}-{evaluation.detector.name}{report.suffix}")
                written += evaluation.write(report if len(evaluations) == 1 else own)
        if as_json is not None:
            figures = [evaluation.as_json() for evaluation in evaluations]
            text = json.dumps(figures[0] if len(figures) == 1 else figures) + "\n"
            as_json.write_text(text, encoding="utf-8")
            written.append(as_json)
    except OSError as error:
        raise MendableError(f"{error.filename}: cannot be written: {error.strerror}") from error
    except ValueError as error:
        raise MendableError(str(error)) from error
    return written
