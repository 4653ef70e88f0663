"""All detectors that run. A new one is one module, and one line in `IN_SERVICE`."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from peebot_dagster.detectors.candidate import Candidate, load_detector, references_of
from peebot_dagster.detectors.detector import Detector
from peebot_dagster.detectors.unloadable import UnloadableDetector

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Registration:
    """Where a detector is (`module:class` of this package); its arguments that are settings, by variable."""

    reference: str
    settings: Mapping[str, str] = field(default_factory=dict)


_TANK = {"PEEBOT_URINE_LEVEL_ITEM": "level_item", "PEEBOT_URINE_STATE_ITEM": "state_item"}

IN_SERVICE: Mapping[str, Registration] = {
    "urine_tank": Registration("urine_tank:UrineTankDetector", _TANK),
    "signal": Registration("signal:SignalDetector"),
    "airlock": Registration("airlock:AirlockDetector"),
    "orbit": Registration("orbit:OrbitDetector"),
    "attitude": Registration("attitude:AttitudeDetector"),
    "upa_cycle": Registration("upa_cycle:UpaCycleDetector", _TANK),
    "water_tanks": Registration("water_tanks:WaterTanksDetector"),
    "oxygen_generator": Registration("oxygen_generator:OxygenGeneratorDetector"),
}


def detectors_by_settings(
    environment: Mapping[str, str], in_service: Mapping[str, Registration] = IN_SERVICE
) -> tuple[Detector, ...]:
    """Each detector with its settings from the environment.

    PEEBOT_URINE_LEVEL_ITEM and PEEBOT_URINE_STATE_ITEM name the items of the urine tank's level and of the
    Urine Processor's state, for both of their detectors. PEEBOT_CANDIDATES names versions on trial, as
    `module:attribute` or `file.py:attribute`, separated by spaces. None that does not load takes the others
    along: a candidate is left out with a warning, for one in service there is an UnloadableDetector.
    """
    return (
        *(_in_service(name, registration, environment) for name, registration in in_service.items()),
        *_candidates(environment.get("PEEBOT_CANDIDATES", "")),
    )


def _in_service(name: str, registration: Registration, environment: Mapping[str, str]) -> Detector:
    arguments = {
        argument: environment[variable]
        for variable, argument in registration.settings.items()
        if environment.get(variable)
    }
    try:
        detector = load_detector(f"{__package__}.{registration.reference}", **arguments)
        if detector.name != name:
            raise LookupError(f"{registration.reference!r} is no detector {name!r}: it is {detector.name!r}")
    except LookupError as error:
        _log.error("The detector %s does not run: %s", name, error.args[0])
        return UnloadableDetector(name, error.args[0])
    return detector


def _candidates(setting: str) -> list[Candidate]:
    candidates: dict[str, Candidate] = {}
    try:
        references = references_of(setting)
    except LookupError as error:
        _log.warning("No candidate runs: %s", error.args[0])
        return []
    for reference in references:
        try:
            candidate = Candidate(load_detector(reference))
        except LookupError as error:
            _log.warning("A candidate is left out: %s", error.args[0])
            continue
        if candidates.setdefault(candidate.name, candidate) is not candidate:
            _log.warning("A candidate is left out: %r is a second one named %s", reference, candidate.name)
    return list(candidates.values())


def register(detectors: Iterable[Detector]) -> Mapping[str, Detector]:
    """The detectors by name, read-only. ValueError when two share a name: their events could not be told
    apart."""
    by_name: dict[str, Detector] = {}
    for detector in detectors:
        if detector.name in by_name:
            raise ValueError(f"two detectors are named {detector.name!r}")
        by_name[detector.name] = detector
    return MappingProxyType(by_name)


DETECTORS: Mapping[str, Detector] = register(detectors_by_settings(os.environ))


def get(name: str) -> Detector:
    """The detector of that name. LookupError when there is none (it lists the known) or it is broken."""
    detector = DETECTORS.get(name)
    if detector is None:
        raise LookupError(f"no detector is named {name!r}; known: {', '.join(sorted(DETECTORS))}")
    if isinstance(detector, UnloadableDetector):
        raise LookupError(detector.reason)
    return detector
