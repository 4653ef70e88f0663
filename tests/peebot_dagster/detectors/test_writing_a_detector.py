"""The page that teaches how to write a detector is followed to the letter."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from peebot_dagster.detectors.detector import Detector
from peebot_dagster.detectors.registry import register

PAGE = Path(__file__).parents[3] / "docs" / "writing-a-detector.md"


@pytest.fixture
def taught() -> Iterator[ModuleType]:
    """A module with all that the Python blocks of the page define."""
    module = ModuleType("taught_by_the_page")
    sys.modules[module.__name__] = module  # dataclasses look their module up
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL):
        exec(compile(block, str(PAGE), "exec"), module.__dict__)  # noqa: S102 - the page is ours
    yield module
    del sys.modules[module.__name__]


def test_the_detector_of_the_page_passes_the_tests_of_the_page(taught: ModuleType) -> None:
    promises = [value for name, value in vars(taught).items() if name.startswith("test_")]
    assert len(promises) == 3
    for promise in promises:
        promise()


def test_the_detector_of_the_page_can_be_registered(taught: ModuleType) -> None:
    detector: Detector = taught.OxygenPauseDetector()
    assert register([detector])["oxygen_pause"] is detector
    assert detector.items == ("NODE3000010",)
