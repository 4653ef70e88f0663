"""The page that teaches how to write a detector is followed to the letter, in a copy of the project."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "writing-a-detector.md").read_text(encoding="utf-8")
COPIED = (
    "peebot_dagster",
    "peebot_local",
    "ingest_daemon",
    "iss_simulator",
    "evaluation",
    "sql",
    "tests/peebot_dagster/detectors",
)


SHOW_ASSETS = (
    "from peebot_dagster.definitions import defs; print(*defs.resolve_asset_graph().get_all_asset_keys())"
)


def follow_the_page(project: Path) -> None:
    """Write its files, and add its lines (marked with +) below the ones that it names."""
    for path, text in re.findall(
        r"^`(\S+\.py)`[^\n]*\n\n```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE
    ):
        assert not (project / path).exists()
        (project / path).write_text(text, encoding="utf-8")
    for block in re.finditer(r"^```diff\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE):
        path = re.findall(r"`((?:peebot_dagster|tests)/\S+\.py)`", PAGE[: block.start()])[-1]
        add_lines(project / path, block[1].splitlines())


def add_lines(file: Path, diff: list[str]) -> None:
    source = file.read_text(encoding="utf-8")
    above = ""
    for line in diff:
        if line.startswith("+"):
            assert source.count(f"{above}\n") == 1
            source = source.replace(f"{above}\n", f"{above}\n{line[1:]}\n")
        else:
            above = line[1:]
    file.write_text(source, encoding="utf-8")


def run(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(project)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project whose owner has read the page."""
    copy = tmp_path_factory.mktemp("project")
    for folder in COPIED:
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("pyproject.toml", "tests/conftest.py"):
        shutil.copy(ROOT / file, copy / file)
    follow_the_page(copy)
    return copy


def test_the_tests_of_the_page_and_those_of_every_detector_pass(project: Path) -> None:
    folder = "tests/peebot_dagster/detectors"
    tests = [f"{folder}/test_oxygen_pause.py", f"{folder}/test_every_detector.py"]
    outcome = run(project, "-m", "pytest", "-q", "-n", "0", "-k", "oxygen_pause", *tests)
    assert outcome.returncode == 0, outcome.stdout
    passed = re.search(r"(\d+) passed", outcome.stdout)
    assert passed is not None
    assert int(passed[1]) > len(re.findall(r"^def test_", PAGE, re.MULTILINE)) == 4


def test_the_detector_of_the_page_has_its_asset(project: Path) -> None:
    outcome = run(project, "-c", SHOW_ASSETS)
    assert "AssetKey(['oxygen_pause_events'])" in outcome.stdout, outcome.stderr


def test_the_command_of_the_page_finds_the_pauses_of_a_recording(project: Path) -> None:
    rows = ["2025-01-10T12:00:00Z,NODE3000010,1", "2025-01-10T13:00:00Z,NODE3000010,2"]
    rows += ["2025-01-10T15:30:00Z,NODE3000010,1"]
    (project / "recording.csv").write_text("\n".join(["ts_utc,item,value", *rows, ""]))
    (command,) = re.findall(r"^\./peebot (detect oxygen_pause .*)$", PAGE, re.MULTILINE)
    arguments = command.replace("recording.csv.gz", "recording.csv").split()
    outcome = run(project, "-m", "peebot_local", *arguments)
    assert outcome.returncode == 0, outcome.stderr
    (event,) = json.loads(outcome.stdout)
    assert event["event_type"] == "oxygen_pause"
    assert event["payload"]["duration_seconds"] == 9000


def test_a_typing_error_in_the_file_stops_no_other_detector_and_is_told(project: Path) -> None:
    file = project / "peebot_dagster" / "detectors" / "oxygen_pause.py"
    sound = file.read_text(encoding="utf-8")
    file.write_text(
        sound.replace("class OxygenPauseDetector:", "class OxygenPauseDetector"), encoding="utf-8"
    )
    try:
        loaded = run(project, "-c", SHOW_ASSETS)
        asked = run(project, "-m", "peebot_local", "detect", "oxygen_pause", "--from-csv", "recording.csv")
    finally:
        file.write_text(sound, encoding="utf-8")

    assert {"AssetKey(['oxygen_pause_events'])", "AssetKey(['urine_tank_events'])"} <= set(
        re.findall(r"AssetKey\(.*?\)", loaded.stdout)
    )
    assert "The detector oxygen_pause does not run: " in loaded.stderr
    assert asked.returncode != 0
    assert "Traceback" not in asked.stderr
