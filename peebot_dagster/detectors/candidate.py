"""A new version of a detector that runs beside the one it may replace, and is mistaken for it by nobody."""

from __future__ import annotations

import importlib
import importlib.util
import shlex
import uuid
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from types import ModuleType

from peebot_dagster.detectors.detector import DetectedEvent, Detector, Window, follows_link, state_items

CANDIDATES = "PEEBOT_CANDIDATES"
"""The variable that names versions on trial."""

PREFIX = "candidate_"
"""Of its events' types: nothing that acts on events, as the posts do, knows a type of that kind."""

SUFFIX = "_candidate"

_NAMESPACE = uuid.UUID("0b6f0d52-4b52-5c55-8d4e-2f8d7d1f6a10")


def candidate_id(event_id: uuid.UUID) -> uuid.UUID:
    """The id under which a candidate's event is stored: it must not overwrite the event it competes with."""
    return uuid.uuid5(_NAMESPACE, str(event_id))


@dataclass(frozen=True)
class Candidate:
    """Another version of a registered detector on trial: the same events under names and ids of their own."""

    detector: Detector

    @property
    def name(self) -> str:
        return self.detector.name + SUFFIX

    @property
    def version(self) -> str:
        return self.detector.version

    @property
    def items(self) -> tuple[str, ...]:
        return self.detector.items

    @property
    def event_types(self) -> tuple[str, ...]:
        return tuple(PREFIX + event_type for event_type in self.detector.event_types)

    @property
    def look_back(self) -> timedelta:
        return self.detector.look_back

    @property
    def settle(self) -> timedelta:
        return self.detector.settle

    @property
    def trigger_interval(self) -> timedelta:
        return self.detector.trigger_interval

    @property
    def follows_link(self) -> bool:
        return follows_link(self.detector)

    @property
    def state_items(self) -> tuple[str, ...]:
        return state_items(self.detector)

    def detect(self, window: Window) -> list[DetectedEvent]:
        """The candidate's events of the window, marked as such."""
        return [
            replace(
                event,
                event_id=candidate_id(event.event_id),
                detector=self.name,
                event_type=PREFIX + event.event_type,
            )
            for event in self.detector.detect(window)
        ]


def load_detector(reference: str, **arguments: str) -> Detector:
    """The detector that `module:attribute` or `path/to/file.py:attribute` names; a class is called once.

    With these arguments, which are its settings.

    LookupError, in one line, when there is none.
    """
    where, _, attribute = reference.rpartition(":")
    if not where:
        raise LookupError(f"{reference!r} is no detector; expected module:attribute or file.py:attribute")
    try:
        found = getattr(_module(where), attribute)
        detector: Detector = found(**arguments) if isinstance(found, type) else found
        _ = (detector.name, detector.version, detector.items, detector.event_types, detector.detect)
        _ = (detector.look_back, detector.settle, detector.trigger_interval)
        if strange := set(state_items(detector)) - set(detector.items):
            raise LookupError(f"its state_items {sorted(strange)} are not among its items")
    except (Exception, SystemExit) as error:  # whatever a file on trial does when it is run
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise LookupError(f"{reference!r} is no detector: {reason}") from error
    return detector


def references_of(setting: str) -> list[str]:
    """The references in PEEBOT_CANDIDATES: separated by spaces, quoted as in a shell when they have some.

    LookupError when a quote has no end.
    """
    try:
        return shlex.split(setting)
    except ValueError as error:
        raise LookupError(f"PEEBOT_CANDIDATES is not readable: {error}") from error


def absolute_references(setting: str, folder: Path) -> str:
    """PEEBOT_CANDIDATES for a process that runs elsewhere: files are named from the root, not from `folder`.

    LookupError as in `references_of`.
    """
    return shlex.join(_absolute(reference, folder) for reference in references_of(setting))


def _absolute(reference: str, folder: Path) -> str:
    where, _, attribute = reference.rpartition(":")
    return f"{folder / where}:{attribute}" if where.endswith(".py") else reference


def _module(where: str) -> ModuleType:
    if not where.endswith(".py"):
        return importlib.import_module(where)
    spec = importlib.util.spec_from_file_location(Path(where).stem, where)
    if spec is None or spec.loader is None:
        raise ImportError(f"{where} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
