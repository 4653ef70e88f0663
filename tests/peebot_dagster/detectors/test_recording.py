from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from peebot_dagster.detectors.recording import RecordingError, events_to_json, read_recording
from peebot_dagster.detectors.urine_tank import UrineTankDetector

NOON = datetime(2025, 1, 10, 12, tzinfo=UTC)
VISIT = "".join(f"2025-01-10T12:0{n // 10}:{n % 10}0Z,{value}\n" for n, value in enumerate([5, 6, 7, 8, 9]))


def write(folder: Path, text: str | bytes, name: str = "recording.csv") -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


@pytest.mark.parametrize(
    "text",
    [
        "ts_utc,value\n2025-01-10T12:00:00Z,5\n2025-01-10T12:00:01.5Z,6.5\n",
        "ts_utc,item,value\n2025-01-10T12:00:00Z,A,5\n2025-01-10T12:00:01.5Z,A,6.5\n",
        "\ufeffts_utc,value\r\n2025-01-10T12:00:00Z,5\r\n2025-01-10T12:00:01.5Z,6.5\r\n",
        "ts_utc,value\n2025-01-10T12:00:00,5\n2025-01-10 13:00:01.500+01:00,6.5\n\n",
        "ts_utc,value\n2025-01-10T12:00:01.5Z,6.5\n2025-01-10T12:00:00Z,5\n",
    ],
    ids=["one channel", "with items", "from a spreadsheet", "other spellings of the time", "out of order"],
)
@pytest.mark.parametrize("compressed", [False, True])
def test_a_recording_is_a_window(tmp_path: Path, text: str, compressed: bool) -> None:
    path = (
        write(tmp_path, gzip.compress(text.encode()), "recording.csv.gz")
        if compressed
        else write(tmp_path, text)
    )
    window = read_recording(path, item="A")
    later = NOON + timedelta(seconds=1.5)
    assert window.readings["ts"].tolist() == [NOON, later]
    assert window.readings["item"].tolist() == ["A", "A"]
    assert window.readings["value"].tolist() == [5.0, 6.5]
    assert window.readings["status_class"].isna().all()
    assert (window.start, window.end, window.live) == (NOON, later + timedelta(microseconds=1), None)


@pytest.mark.parametrize(
    ("hours", "now", "moment"),
    [
        ("24.0", datetime(2025, 6, 1, tzinfo=UTC), datetime(2025, 1, 1, tzinfo=UTC)),
        ("8760.0", datetime(2025, 6, 1, tzinfo=UTC), datetime(2024, 12, 30, tzinfo=UTC)),
        ("24.2", datetime(2024, 12, 31, 23, 59, tzinfo=UTC), datetime(2024, 1, 1, 0, 12, tzinfo=UTC)),
        ("24.1", datetime(2024, 12, 31, 23, 59, tzinfo=UTC), datetime(2025, 1, 1, 0, 6, tzinfo=UTC)),
    ],
)
def test_the_feed_s_hours_are_of_the_latest_year_that_is_not_in_the_future(
    tmp_path: Path, hours: str, now: datetime, moment: datetime
) -> None:
    path = write(tmp_path, f"timestamp_hours,item,value\n{hours},A,5\n")
    assert read_recording(path, now=now).readings["ts"].tolist() == [moment]


def test_the_first_row_of_a_file_of_hours_decides_on_its_year(tmp_path: Path) -> None:
    path = write(tmp_path, "timestamp_hours,item,value\n8783.5,A,5\n8784.5,A,6\n8807.99,A,7\n")
    window = read_recording(path, year=2024)
    assert window.start == datetime(2024, 12, 30, 23, 30, tzinfo=UTC)
    assert window.readings["ts"].dt.year.tolist() == [2024, 2024, 2024]
    with pytest.raises(RecordingError, match="the year must be given"):
        read_recording(path)


@pytest.mark.parametrize(
    ("text", "line", "fault"),
    [
        ("", 1, "the header is ''"),
        ("time,level\n", 1, "the header is 'time,level'"),
        ("ts_utc,value\n2025-01-10T12:00:00Z\n", 2, "1 columns; expected ts_utc,value"),
        ("ts_utc,value\n2025-01-10T12:00:00Z,5\n2025-01-10T12:00:00Z,5,6\n", 3, "3 columns"),
        ("ts_utc,value\n2025-01-10T12:00:00Z,5\n\nyesterday,5\n", 4, "ts_utc is 'yesterday'"),
        ("ts_utc,value\n0001-01-01T00:00:00+05:00,5\n", 2, "ts_utc is '0001-01-01T00:00:00+05:00'"),
        ("ts_utc,value\n9999-12-31T23:59:59Z,5\n", 2, "expected a year from 1998"),
        ("ts_utc,value\n2025-01-10T12:00:00Z,five\n", 2, "value is 'five'; expected a number"),
        ("ts_utc,value\n2025-01-10T12:00:00Z,\n", 2, "value is ''"),
        ("ts_utc,value\n2025-01-10T12:00:00Z,nan\n", 2, "value is 'nan'"),
        ("ts_utc,value\n2025-01-10T12:00:00Z,inf\n", 2, "value is 'inf'"),
        ("ts_utc,item,value\n2025-01-10T12:00:00Z,,5\n", 2, "item is empty"),
        ("timestamp_hours,item,value\n0,A,5\n", 2, "timestamp_hours is '0'"),
        ("timestamp_hours,item,value\nnoon,A,5\n", 2, "expected hours since January 0.0"),
        ('ts_utc,value\n2025-01-10T12:00:00Z,"5\n', 2, "unexpected end of data"),
        ("ts_utc,value\n2025-01-10T12:00:00Z," + "5" * 5000 + "x\n", 2, "value is '5555"),
    ],
)
def test_a_bad_row_is_refused_in_one_line_with_its_number(
    tmp_path: Path, text: str, line: int, fault: str
) -> None:
    path = write(tmp_path, text)
    with pytest.raises(RecordingError) as refusal:
        read_recording(path, item="A")
    message = str(refusal.value)
    assert message.startswith(f"{path}:{line}: ")
    assert fault in message
    assert "\n" not in message
    assert len(message) < len(str(path)) + 200


@pytest.mark.parametrize(
    ("content", "name", "fault"),
    [
        (None, "missing.csv", "No such file"),
        (b"ts_utc,value\n", "a.csv", "no readings"),
        (b"no gzip", "a.csv.gz", "Not a gzipped file"),
        (gzip.compress(b"ts_utc,value\n" + VISIT.encode())[:-12], "a.csv.gz", "damaged"),
        (gzip.compress(VISIT.encode()), "a.csv", "is no text"),
    ],
    ids=["missing", "empty", "not compressed", "cut off", "compressed without saying so"],
)
def test_a_file_that_is_no_recording_is_refused_in_one_line(
    tmp_path: Path, content: bytes | None, name: str, fault: str
) -> None:
    path = tmp_path / name if content is None else write(tmp_path, content, name)
    with pytest.raises(RecordingError, match=fault) as refusal:
        read_recording(path, item="A")
    assert str(refusal.value).startswith(f"{path}")
    assert "\n" not in str(refusal.value)


def test_a_file_without_items_needs_the_name_of_its_channel(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="the item must be given"):
        read_recording(write(tmp_path, "ts_utc,value\n" + VISIT))


def test_events_are_plain_json_with_times_in_utc(tmp_path: Path) -> None:
    detector = UrineTankDetector()
    window = read_recording(write(tmp_path, "ts_utc,value\n" + VISIT), item=detector.level_item)
    (event,) = json.loads(json.dumps(events_to_json(detector.detect(window))))
    assert list(event) == [
        "event_id",
        "detector",
        "event_type",
        "started_at",
        "ended_at",
        "state",
        "confidence",
        "payload",
    ]
    assert event["started_at"] == "2025-01-10T12:00:20+00:00"
    assert event["ended_at"] == "2025-01-10T12:00:40+00:00"
    assert (event["detector"], event["event_type"], event["state"]) == ("urine_tank", "toilet_visit", "open")
    assert event["payload"]["amount_percent"] == 3.0
