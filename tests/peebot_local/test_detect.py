from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from peebot_dagster.detectors.registry import DETECTORS
from peebot_local.detect import detect_in_recording
from peebot_local.errors import MendableError

TEN = datetime(2026, 5, 1, 10, tzinfo=UTC)
DETECTOR = DETECTORS["urine_tank"]


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """A visit at half past ten, one at half past eleven, and one at half past twelve."""
    rows = [f"{TEN:%FT%TZ},20"]
    for visit in range(3):
        begin = TEN + timedelta(minutes=30 + 60 * visit)
        steps = [begin + timedelta(seconds=6 * step) for step in range(3)]
        rows += [f"{at:%FT%TZ},{21 + 3 * visit + step}" for step, at in enumerate(steps)]
    path = tmp_path / "tank.csv"
    path.write_text("\n".join(["ts_utc,value", *rows, f"{TEN + timedelta(hours=3):%FT%TZ},28"]) + "\n")
    return path


def begins(recording: Path, start: datetime | None, end: datetime | None) -> list[str]:
    events = detect_in_recording(DETECTOR, recording, None, start=start, end=end)
    return [f"{event.started_at:%H:%M}" for event in events]


def test_a_span_of_a_recording_tells_of_the_events_that_begin_in_it(recording: Path) -> None:
    everything = detect_in_recording(DETECTOR, recording, None)
    assert len(everything) == 3
    middle = everything[1]
    second = timedelta(seconds=1)
    span = (middle.started_at, middle.started_at + second)
    assert detect_in_recording(DETECTOR, recording, None, None, *span) == [middle]
    assert begins(recording, middle.started_at - second, middle.started_at) == []


def test_a_span_may_be_open_at_either_end(recording: Path) -> None:
    eleven = TEN + timedelta(hours=1)
    assert begins(recording, None, eleven) == ["10:30"]
    assert begins(recording, eleven, None) == ["11:30", "12:30"]


def test_a_span_that_ends_before_it_begins_is_a_fault(recording: Path) -> None:
    with pytest.raises(MendableError, match="--to must be later than --from"):
        begins(recording, TEN, TEN)
