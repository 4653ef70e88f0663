from __future__ import annotations

import pytest

from peebot_dagster.detectors.registry import DETECTORS, detectors_by_settings, get, register
from peebot_dagster.detectors.urine_tank import UrineTankDetector


def test_the_urine_detector_is_registered_under_its_own_name() -> None:
    assert get("urine_tank") is DETECTORS["urine_tank"]
    assert get("urine_tank").name == "urine_tank"


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(LookupError, match=r"no detector is named 'nobody'; known: .*urine_tank"):
        get("nobody")


def test_two_detectors_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="two detectors are named 'urine_tank'"):
        register([UrineTankDetector(), UrineTankDetector(level_item="NODE3000008")])


def test_the_items_of_the_urine_tank_are_settings() -> None:
    environment = {"PEEBOT_URINE_LEVEL_ITEM": "A", "PEEBOT_URINE_STATE_ITEM": "B"}
    detectors = register(detectors_by_settings(environment))
    assert detectors["urine_tank"].items == ("A", "B")


@pytest.mark.parametrize("environment", [{}, {"PEEBOT_URINE_LEVEL_ITEM": "", "PEEBOT_URINE_STATE_ITEM": ""}])
def test_without_settings_the_level_is_node3000005_and_the_state_node3000004(
    environment: dict[str, str],
) -> None:
    detectors = register(detectors_by_settings(environment))
    assert detectors["urine_tank"].items == ("NODE3000005", "NODE3000004")
