from __future__ import annotations

from pathlib import Path

import pytest

from peebot_dagster.detectors.candidate import (
    Candidate,
    absolute_references,
    candidate_id,
    load_detector,
    references_of,
)
from peebot_dagster.detectors.detector import follows_link
from peebot_dagster.detectors.registry import detectors_by_settings, register
from peebot_dagster.detectors.signal import SignalDetector
from peebot_dagster.detectors.urine_tank import UrineTankDetector

REFERENCE = "peebot_dagster.detectors.urine_tank:UrineTankDetector"


def test_a_candidate_runs_beside_the_detector_that_it_may_replace() -> None:
    detectors = register(detectors_by_settings({"PEEBOT_CANDIDATES": REFERENCE}))
    assert {"urine_tank", "urine_tank_candidate"} <= detectors.keys()
    assert "candidate_toilet_visit" in detectors["urine_tank_candidate"].event_types


def test_no_event_of_a_candidate_can_be_mistaken_for_one_of_the_detector(telemetry) -> None:
    window = telemetry.tank().known().silent(600).rises(0, 6, 6).silent(600).window()
    detector = UrineTankDetector()
    theirs, ours = Candidate(detector).detect(window), detector.detect(window)
    assert [event.event_type for event in ours] == ["toilet_visit"]
    assert [event.event_type for event in theirs] == ["candidate_toilet_visit"]
    assert [event.event_id for event in theirs] == [candidate_id(event.event_id) for event in ours]
    assert theirs[0].detector == "urine_tank_candidate"
    assert theirs[0].payload == ours[0].payload


def test_a_candidate_may_lie_in_a_file_outside_of_the_project(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from peebot_dagster.detectors.urine_tank import UrineTankDetector\n"
        "second = UrineTankDetector(level_item='NODE3000008')\n"
    )
    assert load_detector(f"{tmp_path}/mine.py:second").items[0] == "NODE3000008"


@pytest.mark.parametrize(
    "reference",
    ["urine_tank", "no.such.module:Detector", "missing.py:Detector", "json:loads", "json:nothing", ":"],
)
def test_what_is_no_detector_is_refused_in_one_line(reference: str) -> None:
    with pytest.raises(LookupError, match=r"^'.*' is no detector[:;] [^\n]+$"):
        load_detector(reference)


def test_a_detector_whose_states_are_not_among_its_items_is_refused_as_nobody_would_wake_it(
    tmp_path: Path,
) -> None:
    (tmp_path / "mine.py").write_text(
        "from peebot_dagster.detectors.upa_cycle import UpaCycleDetector\n"
        "class Mine(UpaCycleDetector):\n"
        "    state_items = ('NODE3000009',)\n"
    )
    with pytest.raises(LookupError, match=r"is no detector: its state_items \['NODE3000009'\] are not among"):
        load_detector(f"{tmp_path}/mine.py:Mine")


@pytest.mark.parametrize("text", ["def broken(:", "raise RuntimeError('one\\ntwo')", "1 / 0", "exit(3)"])
def test_a_file_that_fails_when_it_is_read_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "mine.py").write_text(text)
    with pytest.raises(LookupError, match=r"^'.*' is no detector: [^\n]+$"):
        load_detector(f"{tmp_path}/mine.py:Mine")


def test_a_candidate_follows_the_link_if_its_detector_does() -> None:
    assert follows_link(Candidate(SignalDetector()))
    assert not follows_link(Candidate(UrineTankDetector()))


def test_a_file_named_from_where_the_user_is_loads_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "my detectors"
    folder.mkdir()
    (folder / "mine.py").write_text(
        "from peebot_dagster.detectors.urine_tank import UrineTankDetector as Mine\n"
    )
    setting = absolute_references(f"mine.py:Mine {REFERENCE}", folder)
    monkeypatch.chdir("/")
    first, second = references_of(setting)
    assert load_detector(first).name == "urine_tank"
    assert second == REFERENCE
    assert absolute_references(setting, tmp_path) == setting


def test_a_quote_without_an_end_is_refused_in_one_line() -> None:
    with pytest.raises(LookupError, match=r"^PEEBOT_CANDIDATES is not readable: [^\n]+$"):
        references_of("'mine.py:Mine")
