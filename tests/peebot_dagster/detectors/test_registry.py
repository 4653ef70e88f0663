from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

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


@pytest.mark.parametrize(
    "broken",
    [
        "missing.py:Mine",
        "no.such.module:Mine",
        "json:loads",
        "'peebot_dagster.detectors.signal:SignalDetector",
        "peebot_dagster.detectors.urine_tank:UrineTankDetector",
    ],
)
def test_a_candidate_that_cannot_run_is_left_out_with_a_warning_in_one_line(
    broken: str, caplog: pytest.LogCaptureFixture
) -> None:
    good = "peebot_dagster.detectors.urine_tank:UrineTankDetector"
    names = {detector.name for detector in detectors_by_settings({"PEEBOT_CANDIDATES": f"{good} {broken}"})}
    without = {detector.name for detector in detectors_by_settings({})}
    assert without <= names <= without | {"urine_tank_candidate"}
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "\n" not in record.getMessage()


def test_a_candidate_that_breaks_takes_no_process_down(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def broken(:")
    outcome = subprocess.run(
        [sys.executable, "-c", "from peebot_dagster.detectors.registry import DETECTORS; print(*DETECTORS)"],
        env={**os.environ, "PEEBOT_CANDIDATES": f"{tmp_path}/mine.py:Mine"},
        cwd="/",
        text=True,
        capture_output=True,
        check=True,
    )
    assert "urine_tank" in outcome.stdout.split()
    assert len(outcome.stderr.splitlines()) == 1
