"""`peebot replay` into a store, through simulator and daemon, without Dagster."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from rich.console import Console

from iss_simulator.feed import timestamp_hours
from iss_simulator.recording import Recording
from peebot_local.errors import MendableError
from peebot_local.home import Home
from peebot_local.interruption import StopSignals
from peebot_local.replay import playing, replay, survey

LEVEL = "NODE3000005"
NOW = datetime(2026, 6, 1, tzinfo=UTC)
BEGIN = datetime(2025, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)

pytestmark = pytest.mark.timeout(60)
Replay = Callable[..., str]


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def play(home: Home, database_url: str, capsys: pytest.CaptureFixture[str]) -> Replay:
    """Replays a recording at once, and returns what was said."""

    def run(recording: Recording, first_partition: datetime = BEGIN - HOUR) -> str:
        replay(home, StopSignals(), database_url, recording, 1e9, first_partition, Console())
        return capsys.readouterr().out

    return run


def stored(connection: psycopg.Connection) -> list[tuple[datetime, float]]:
    return connection.execute(
        "SELECT ts AT TIME ZONE 'UTC', value FROM telemetry_reading JOIN telemetry_channel USING (channel_id)"
        " WHERE item_id = %s ORDER BY ts",
        (LEVEL,),
    ).fetchall()


def naive(moment: datetime) -> datetime:
    return moment.replace(tzinfo=None)


@pytest.mark.parametrize("layout", ["ts_utc", "timestamp_hours"])
def test_a_span_of_a_recording_is_stored_alone_and_in_its_year(
    layout: str, play: Replay, connection: psycopg.Connection, tmp_path: Path
) -> None:
    times = [BEGIN + n * HOUR for n in range(48)]
    texts = [ts.isoformat() if layout == "ts_utc" else timestamp_hours(ts) for ts in times]
    rows = (f"{text},{LEVEL},{n}" for n, text in enumerate(texts))
    path = write(tmp_path / "long.csv", f"{layout},item,value", *rows)
    play(Recording(path, NOW, None, BEGIN + 10 * HOUR, BEGIN + 20 * HOUR))
    assert stored(connection) == [(naive(times[n]), float(n)) for n in range(10, 20)]


def test_a_recording_of_one_row_or_with_a_bad_end_has_an_end(
    play: Replay, connection: psycopg.Connection, tmp_path: Path
) -> None:
    one = Recording(write(tmp_path / "one.csv", "ts_utc,value", "2025-03-01T00:00:00,7"), NOW, LEVEL)
    assert "1 readings stored now, 0 were there before" in play(one)
    assert "0 readings stored now, 1 were there before" in play(one)
    rows = ("2025-03-01T01:00:00Z,8", "2025-03-01T02:00:00Z,nan", "2025-03-01T03:00:00Z,")
    bad_end = write(tmp_path / "bad_end.csv", "ts_utc,value", *rows)
    said = play(Recording(bad_end, NOW, LEVEL))
    assert "1 readings stored now" in said
    assert (
        f"2 rows are no readings and were rejected; the first: {bad_end}:3: 'nan', value_not_finite" in said
    )
    assert stored(connection) == [(naive(BEGIN), 7.0), (naive(BEGIN + HOUR), 8.0)]


def test_what_no_minutes_and_no_channel_are_there_for_is_said_first(play: Replay, tmp_path: Path) -> None:
    rows = (f"2025-03-01T00:00:00Z,{LEVEL},7", "2025-03-01T00:00:01Z,NOBODY000001,1")
    said = play(Recording(write(tmp_path / "two.csv", "ts_utc,item,value", *rows), NOW), BEGIN + HOUR)
    assert "begins at 2025-03-01 00:00 UTC, before Dagster's first hour, 2025-03-01 01:00" in said
    assert "PEEBOT_PARTITIONS_START" in said
    assert "1 rows are not stored: their channels are not in the catalogue (NOBODY000001)" in said


def test_nothing_is_said_of_partitions_that_are_there(play: Replay, tmp_path: Path) -> None:
    path = write(tmp_path / "one.csv", "ts_utc,value", "2025-03-01T00:00:00Z,7")
    assert "PEEBOT_PARTITIONS_START" not in play(Recording(path, NOW, LEVEL), BEGIN)


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (
            ["2025-03-01T00:00:00Z,nan", "2025-03-01T01:00:00Z,"],
            r"can be stored; .*:2: 'nan', value_not_finite",
        ),
        (["2025-03-01T00:00:00Z,1", "later,2"], r":3: ts_utc is 'later'; expected an ISO 8601 time"),
        (["2025-03-01T00:00:00Z,1", "2025-03-01T00:00:00Z"], r":3: 1 columns; expected ts_utc,value"),
        ([], "holds no reading$"),
        (["2024-03-01T00:00:00Z,1", "2025-03-01T00:00:00Z,1"], "spans 365 days"),
    ],
)
def test_what_cannot_be_replayed_is_told_before_anything_starts(
    rows: list[str], reason: str, tmp_path: Path
) -> None:
    with pytest.raises(MendableError, match=reason):
        survey(Recording(write(tmp_path / "bad.csv", "ts_utc,value", *rows), NOW, LEVEL))


def test_a_span_without_rows_is_said_to_be_one(tmp_path: Path) -> None:
    path = write(tmp_path / "one.csv", "ts_utc,value", "2025-03-01T00:00:00Z,7")
    with pytest.raises(MendableError, match="holds no reading between --from and --to"):
        survey(Recording(path, NOW, LEVEL, start=BEGIN + HOUR))


def test_a_recording_of_other_channels_only_is_refused(play: Replay, tmp_path: Path) -> None:
    path = write(tmp_path / "other.csv", "ts_utc,value", "2025-03-01T00:00:00Z,7")
    with pytest.raises(MendableError, match="none of its channels is in the catalogue"):
        play(Recording(path, NOW, "NOBODY000001"))


def test_the_simulator_is_told_the_span_and_the_year(tmp_path: Path) -> None:
    recording = Recording(tmp_path / "a.csv", NOW, LEVEL, BEGIN, BEGIN + HOUR, 2025)
    assert playing(recording, 1, 2.0)[-6:] == [
        *("--start", "2025-03-01T00:00:00+00:00", "--stop", "2025-03-01T01:00:00+00:00", "--year", "2025")
    ]
