"""All detectors that run. A new one is one module, and one line in `detectors_by_settings`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from peebot_dagster.detectors.airlock import AirlockDetector
from peebot_dagster.detectors.attitude import AttitudeDetector
from peebot_dagster.detectors.candidate import Candidate, load_detector
from peebot_dagster.detectors.detector import Detector
from peebot_dagster.detectors.orbit import OrbitDetector
from peebot_dagster.detectors.oxygen_generator import OxygenGeneratorDetector
from peebot_dagster.detectors.signal import SignalDetector
from peebot_dagster.detectors.upa_cycle import UpaCycleDetector
from peebot_dagster.detectors.urine_tank import UrineTankDetector
from peebot_dagster.detectors.water_tanks import WaterTanksDetector


def detectors_by_settings(environment: Mapping[str, str]) -> tuple[Detector, ...]:
    """Each detector with its settings from the environment.

    PEEBOT_URINE_LEVEL_ITEM and PEEBOT_URINE_STATE_ITEM name the items of the urine tank's level and of the
    Urine Processor's state, for both of their detectors. PEEBOT_CANDIDATES names versions on trial, as
    `module:attribute` or `file.py:attribute`, separated by spaces; LookupError when one of them is no
    detector.
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
        *(
            Candidate(load_detector(reference))
            for reference in environment.get("PEEBOT_CANDIDATES", "").split()
        ),
    )


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
