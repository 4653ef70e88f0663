"""All detectors that run. A new one is one module, and one line in `detectors_by_settings`."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from peebot_dagster.detectors.airlock import AirlockDetector
from peebot_dagster.detectors.attitude import AttitudeDetector
from peebot_dagster.detectors.candidate import Candidate, load_detector, references_of
from peebot_dagster.detectors.detector import Detector
from peebot_dagster.detectors.orbit import OrbitDetector
from peebot_dagster.detectors.oxygen_generator import OxygenGeneratorDetector
from peebot_dagster.detectors.signal import SignalDetector
from peebot_dagster.detectors.upa_cycle import UpaCycleDetector
from peebot_dagster.detectors.urine_tank import UrineTankDetector
from peebot_dagster.detectors.water_tanks import WaterTanksDetector

_log = logging.getLogger(__name__)


def detectors_by_settings(environment: Mapping[str, str]) -> tuple[Detector, ...]:
    """Each detector with its settings from the environment.

    PEEBOT_URINE_LEVEL_ITEM and PEEBOT_URINE_STATE_ITEM name the items of the urine tank's level and of the
    Urine Processor's state, for both of their detectors. PEEBOT_CANDIDATES names versions on trial, as
    `module:attribute` or `file.py:attribute`, separated by spaces; one that does not load is left out with a
    warning, as it must not take the detectors in service along.
    """
    return (
        UrineTankDetector(
            level_item=environment.get("PEEBOT_URINE_LEVEL_ITEM") or UrineTankDetector.level_item,
            state_item=environment.get("PEEBOT_URINE_STATE_ITEM") or UrineTankDetector.state_item,
        ),
        SignalDetector(),
        AirlockDetector(),
        OrbitDetector(),
        AttitudeDetector(),
        UpaCycleDetector(
            level_item=environment.get("PEEBOT_URINE_LEVEL_ITEM") or UpaCycleDetector.level_item,
            state_item=environment.get("PEEBOT_URINE_STATE_ITEM") or UpaCycleDetector.state_item,
        ),
        WaterTanksDetector(),
        OxygenGeneratorDetector(),
        *_candidates(environment.get("PEEBOT_CANDIDATES", "")),
    )


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
    """The detector of that name. LookupError that lists the known names when there is none."""
    try:
        return DETECTORS[name]
    except KeyError:
        raise LookupError(f"no detector is named {name!r}; known: {', '.join(sorted(DETECTORS))}") from None
