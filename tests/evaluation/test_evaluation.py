"""The urine detector judged from end to end: what its aims are, and that the report tells of them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from evaluation.labels import Label
from evaluation.on_recording import RecordingResult, evaluate_on_recording
from evaluation.on_stations import StationResult, evaluate_on_stations
from evaluation.report import Evaluation
from evaluation.simulated import simulated_window
from evaluation.station_run import SINCE
from peebot_dagster.detectors.urine_tank import UrineTankDetector

DETECTOR = UrineTankDetector()


@pytest.fixture(scope="module")
def stations() -> StationResult:
    return evaluate_on_stations(DETECTOR, seeds=2, days=1.5, replayed_days=2, other_conditions=False)


@pytest.fixture(scope="module")
def recording() -> RecordingResult:
    window, truth = simulated_window(DETECTOR.items, 3, SINCE, 2)
    labels = [
        Label(t.kind, t.onset, t.ended_at, t.steps)
        for t in truth
        if t.kind in ("visit", "transfer") and t.onset < window.end - timedelta(minutes=5)
    ]
    return evaluate_on_recording(DETECTOR, "two_days.csv", window, labels)


def test_visits_in_sight_are_found_and_their_begin_is_right(stations: StationResult) -> None:
    (visits,) = [score for score in stations.scores if score.name == "visit, in sight"]
    assert visits.found > 40
    assert visits.f1 >= 0.99
    assert max(abs(error) for error in visits.onset_errors_s) <= 10
    assert all(error == 0 for error in visits.amount_errors)


def test_no_transfer_is_taken_for_a_visit_and_nothing_sure_comes_to_nothing(stations: StationResult) -> None:
    assert ("transfer", "toilet_visit") not in stations.taken_for
    assert stations.replayed_days == 2
    assert stations.false_alarms["toilet_visit"] == 0


def test_a_visit_is_told_after_its_second_step_and_sure_after_a_plateau(stations: StationResult) -> None:
    ((_, visits), *_) = [pair for pair in stations.delays if pair[0] == "visit"]
    assert len(visits.early_s) == len(visits.sure_s) == len(visits.closed_s) > 10
    assert min(visits.early_s) >= 4
    assert min(visits.sure_s) >= 34
    assert min(visits.closed_s) >= 120
    assert sorted(visits.early_s)[len(visits.early_s) // 2] < 10


def test_what_is_taken_for_something_else_on_crowded_stations_has_a_table_of_its_own(
    stations: StationResult,
) -> None:
    taken_for = Counter({("transfer", "toilet_visit"): 3})
    result = replace(stations, crowded=stations.scores, crowded_taken_for=taken_for)
    evaluation = Evaluation(DETECTOR, "", result, None)
    titles = [table.title for table in evaluation.tables()]
    place = titles.index("On crowded stations")
    table = evaluation.tables()[place + 1]
    assert table.title == "Taken for something else, on crowded stations"
    assert ("transfer", "toilet_visit", "3") in table.rows
    told = evaluation.as_json()["stations"]["crowded_taken_for"]
    assert {"truth": "transfer", "event_type": "toilet_visit", "times": 3} in told


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_aims_hold_on_ten_stations_and_stand_firm_under_other_conditions() -> None:
    result = evaluate_on_stations(DETECTOR, seeds=10, days=7, replayed_days=2)
    (visits,) = [score for score in result.scores if score.name == "visit, in sight"]
    assert visits.found > 1000
    assert visits.f1 >= 0.99
    assert max(abs(error) for error in visits.onset_errors_s) <= 10
    assert ("transfer", "toilet_visit") not in result.taken_for
    assert result.false_alarms["toilet_visit"] == 0
    assert [point.condition for point in result.over_dither][-1] >= 0.4
    assert all(point.in_sight.f1 >= 0.98 for point in (*result.over_dither, *result.over_losses))
    hard = {score.name: score for score in result.crowded}
    assert 0.9 < hard["visit, in sight"].f1 < visits.f1, "the hard stations are no harder"
    assert hard["transfer, in sight"].f1 > 0.85
    lost = [point.condition for point in result.over_losses]
    assert lost == sorted(lost)
    assert lost[-1] > 0.1
    assert Evaluation(DETECTOR, "", result, None).html().count("<svg") == 4


def test_ours_is_better_than_each_naive_rule(stations: StationResult) -> None:
    (ours, _), *naive = stations.naive
    assert len(naive) == 4
    assert all(score.f1 < ours.f1 for score, _ in naive)


def test_what_must_hold_holds_on_a_recording(recording: RecordingResult) -> None:
    # How many visits a day there are is a matter of chance in two days.
    failed = [c.name for c in recording.checks if not c.holds and not c.name.startswith("visits a")]
    assert failed == []
    assert len(recording.checks) == 8


def test_labels_are_agreed_with(recording: RecordingResult) -> None:
    scores = {score.name: score for score in recording.agreement}
    assert scores["visit"].recall >= 0.9
    assert scores["transfer"].recall == 1


def test_the_report_is_one_page_with_its_charts_inside(
    stations: StationResult, recording: RecordingResult, tmp_path: Path
) -> None:
    evaluation = Evaluation(DETECTOR, "./peebot evaluate urine_tank", stations, recording)
    assert evaluation.write(tmp_path / "report.html") == [tmp_path / "report.html"]
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.count("<svg") == len(evaluation.charts()) == 8
    assert not re.search(r"""(src|href)=["']https?:""", page)
    for table in evaluation.tables():
        assert f"<h2>{table.title}</h2>" in page


def test_a_report_in_markdown_has_its_charts_beside_it(recording: RecordingResult, tmp_path: Path) -> None:
    evaluation = Evaluation(DETECTOR, "./peebot evaluate urine_tank", None, recording)
    page, *pictures = evaluation.write(tmp_path / "report.md")
    text = page.read_text(encoding="utf-8")
    assert len(pictures) == len(evaluation.charts())
    assert all(f"]({picture.name})" in text and picture.exists() for picture in pictures)
    with pytest.raises(ValueError, match=r"a report ends in \.html or \.md"):
        evaluation.write(tmp_path / "report.pdf")


def test_the_figures_are_plain_values(stations: StationResult, recording: RecordingResult) -> None:
    figures = Evaluation(DETECTOR, "", stations, recording).as_json()
    assert json.loads(json.dumps(figures)) == figures
    assert figures["stations"]["scores"][0]["f1"] >= 0.99


def test_the_code_server_and_the_command_line_import_nothing_that_draws() -> None:
    program = (
        "import sys, peebot_dagster.definitions, peebot_local.cli, evaluation.report;"
        "sys.exit('matplotlib' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
