from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest

from peebot_dagster.detectors.detector import Window
from peebot_dagster.detectors.registry import (
    DETECTORS,
    IN_SERVICE,
    Registration,
    detectors_by_settings,
    get,
    register,
)
from peebot_dagster.detectors.unloadable import UnloadableDetector
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
    "broken", ["no_such_module:Mine", "signal:Missing", "detector:event_id", "signal:SignalDetector"]
)
def test_a_detector_in_service_that_does_not_load_stops_no_other_and_says_why(
    broken: str, caplog: pytest.LogCaptureFixture
) -> None:
    sound, mine = detectors_by_settings(
        {}, {"urine_tank": IN_SERVICE["urine_tank"], "mine": Registration(broken)}
    )
    assert isinstance(sound, UrineTankDetector)
    assert (mine.name, mine.items) == ("mine", ())
    (record,) = caplog.records
    assert record.levelname == "ERROR"
    assert broken.partition(":")[0] in record.getMessage()
    now = datetime(2025, 1, 10, tzinfo=UTC)
    with pytest.raises(ImportError, match=" is no detector"):
        mine.detect(Window(now, now, pd.DataFrame()))


def test_each_detector_in_service_loads_under_its_name() -> None:
    detectors = detectors_by_settings({})
    assert [detector.name for detector in detectors] == list(IN_SERVICE)
    assert not [detector for detector in detectors if isinstance(detector, UnloadableDetector)]


def test_a_detector_that_does_not_load_is_asked_for_in_vain_with_the_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mine = UnloadableDetector("mine", "it has a typing error")
    monkeypatch.setattr("peebot_dagster.detectors.registry.DETECTORS", {"mine": mine})
    with pytest.raises(LookupError, match="it has a typing error"):
        get("mine")


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
