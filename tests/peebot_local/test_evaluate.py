from __future__ import annotations

import io
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from rich.console import Console

from evaluation.report import Evaluation
from peebot_dagster.detectors.candidate import Candidate
from peebot_dagster.detectors.registry import DETECTORS
from peebot_dagster.detectors.urine_tank import UrineTankDetector
from peebot_local.errors import MendableError
from peebot_local.evaluate import check_labels, check_places, evaluate, find, read, write

LEVEL = "NODE3000005"


@dataclass(frozen=True)
class OnTrial(UrineTankDetector):
    """Another version."""

    @property
    def version(self) -> str:
        return "on trial"


wrapped = Candidate(OnTrial())


def hours(folder: Path) -> Path:
    path = folder / "tank.csv"
    path.write_text(f"timestamp_hours,item,value\n48.0,{LEVEL},5\n48.1,{LEVEL},6\n", encoding="utf-8")
    return path


def test_a_recording_of_the_feeds_hours_is_of_the_year_that_is_given(tmp_path: Path) -> None:
    recorded = read(hours(tmp_path), None, None, 2021)
    assert recorded is not None
    assert recorded.window.start == datetime(2021, 1, 2, tzinfo=UTC)


def test_a_file_of_one_channel_is_no_detectors_unless_it_is_said_whose(tmp_path: Path) -> None:
    path = tmp_path / "tank.csv"
    path.write_text("ts_utc,value\n2025-01-02T06:00:00Z,5\n", encoding="utf-8")
    with pytest.raises(MendableError, match="the item must be given"):
        read(path, None, None)
    recorded = read(path, None, LEVEL)
    assert recorded is not None
    told_of = {name for name, detector in DETECTORS.items() if recorded.of(detector) is not None}
    assert "urine_tank" in told_of
    assert not {"airlock", "orbit", "signal"} & told_of


def test_a_detector_whose_channels_a_recording_lacks_is_skipped_and_named(tmp_path: Path) -> None:
    recorded, said = read(hours(tmp_path), None, None, 2021), io.StringIO()
    assert evaluate(DETECTORS["airlock"], "", 0, 1.0, recorded, Console(file=said)) is None
    assert said.getvalue().startswith("airlock: tank.csv holds none of its channels")


def labels(folder: Path, *kinds: str) -> Path:
    path = folder / "labels.csv"
    rows = "".join(f"2021-01-02T00:06:00Z,,{kind}\n" for kind in kinds)
    path.write_text(f"started_at,ended_at,kind\n{rows}", encoding="utf-8")
    return path


def test_labels_of_which_no_detector_tells_are_a_fault_that_names_the_known_kinds(tmp_path: Path) -> None:
    recorded = read(hours(tmp_path), labels(tmp_path, "pee", "Visit", "pee"), None, 2021)
    with pytest.raises(MendableError) as told:
        check_labels(recorded, [DETECTORS["urine_tank"]])
    assert str(told.value) == (
        "no label is of a kind that is told of: 2 x pee, 1 x Visit; known: dribble, reset, sensor_reset, "
        "tank_transfer, toilet_visit, toilet_visit_masked, transfer, visit"
    )


def test_labels_of_one_detector_among_several_are_no_fault(tmp_path: Path) -> None:
    recorded = read(hours(tmp_path), labels(tmp_path, "pee", "visit"), None, 2021)
    check_labels(recorded, [DETECTORS["upa_cycle"], DETECTORS["urine_tank"]])
    check_labels(read(hours(tmp_path), labels(tmp_path), None, 2021), [DETECTORS["urine_tank"]])
    check_labels(read(hours(tmp_path), None, None, 2021), [DETECTORS["urine_tank"]])
    check_labels(None, [DETECTORS["urine_tank"]])


def test_labels_are_no_ones_where_the_recording_lacks_the_detectors_channels(tmp_path: Path) -> None:
    recorded = read(hours(tmp_path), labels(tmp_path, "airlock_depress"), None, 2021)
    with pytest.raises(MendableError, match="no label is of a kind that is told of: 1 x airlock_depress"):
        check_labels(recorded, [DETECTORS["urine_tank"], DETECTORS["airlock"]])


def test_a_candidate_is_evaluated_as_the_detector_that_it_may_become(tmp_path: Path) -> None:
    for reference in (f"{__name__}:OnTrial", f"{__file__}:wrapped"):
        detector = find(reference)
        assert (detector.name, detector.version) == ("urine_tank", "on trial")
        assert "toilet_visit" in detector.event_types
    found = evaluate(
        detector, "", 0, 1.0, read(hours(tmp_path), None, None, 2021), Console(file=io.StringIO())
    )
    assert found is not None
    assert "visits inside a transfer or a reset" in found.markdown()
    assert "Beside four naive rules" in found.markdown()


def test_where_a_report_cannot_be_written_is_said_in_one_line(tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere" / "r.html"
    for places in ((nowhere, None), (None, nowhere)):
        with pytest.raises(MendableError, match="there is no folder"):
            check_places(*places)
    check_places(tmp_path / "r.html", tmp_path / "f.json")
    nothing = [Evaluation(DETECTORS["airlock"], "", None, None)]
    for places in ((nowhere, None), (None, tmp_path)):
        with pytest.raises(MendableError, match="cannot be written"):
            write(nothing, *places)


@pytest.mark.slow
def test_an_event_may_be_off_by_as_much_as_one_says() -> None:
    def found(seconds: float) -> int:
        console, tolerance = Console(file=io.StringIO()), timedelta(seconds=seconds)
        evaluation = evaluate(DETECTORS["water_tanks"], "", 1, 4.0, None, console, tolerance)
        assert evaluation is not None
        assert evaluation.stations is not None
        return sum(score.found for score in evaluation.stations.scores)

    assert found(1) < found(900)
