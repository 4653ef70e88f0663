"""Playback of recordings: which rows, which times, and nothing missed by a reader that dies."""

from __future__ import annotations

import asyncio
import gzip
import re
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from iss_simulator.binding import Binding
from iss_simulator.feed import from_timestamp_hours, timestamp_hours
from iss_simulator.playback import Playback, cues, tick_interval
from iss_simulator.recording import Recording, RecordingError
from iss_simulator.switchboard import Switchboard

NOW = datetime(2026, 6, 1, tzinfo=UTC)
LEVEL = "NODE3000005"
MINUTE = timedelta(minutes=1)


def write(path: Path, *lines: str) -> Path:
    text = "\n".join(lines) + "\n"
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)
    return path


@pytest.fixture
def counting(tmp_path: Path) -> Recording:
    """0, 1, 2, … 599, one a minute, across a new year."""
    begin = datetime(2024, 12, 31, 19, tzinfo=UTC)
    rows = (f"{(begin + n * MINUTE).isoformat()},{n}" for n in range(600))
    return Recording(write(tmp_path / "counting.csv", "ts_utc,value", *rows), NOW, LEVEL)


def test_the_year_begins_with_hour_24() -> None:
    assert timestamp_hours(datetime(2025, 1, 1, tzinfo=UTC)) == "24"
    assert timestamp_hours(datetime(2024, 12, 31, 23, 30, tzinfo=UTC)) == "8807.5"


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz"])
def test_each_layout_is_read_plain_or_compressed(suffix: str, tmp_path: Path) -> None:
    one = write(tmp_path / f"one{suffix}", "ts_utc,value", "2025-01-01T00:00:00.5Z,7")
    many = write(tmp_path / f"many{suffix}", "ts_utc,item,value", "2025-01-01T00:00:00.5Z,NODE3000005,7")
    hours = write(tmp_path / f"hours{suffix}", "timestamp_hours,item,value", "24.00013888889,NODE3000005,7")
    expected = datetime(2025, 1, 1, 0, 0, 0, 500_000, tzinfo=UTC)
    for recording in (Recording(one, NOW, LEVEL), Recording(many, NOW)):
        (row,) = recording.rows()
        assert (row.ts, row.item, row.value) == (expected, LEVEL, "7")
        assert abs(from_timestamp_hours(row.timestamp, 2025) - expected) < timedelta(milliseconds=1)
    (row,) = Recording(hours, NOW).rows()
    assert row.timestamp == "24.00013888889"
    assert row.ts.year == 2026


def test_hours_without_a_year_are_dated_in_the_latest_year_that_has_passed(tmp_path: Path) -> None:
    path = write(tmp_path / "hours.csv", "timestamp_hours,item,value", "8000,A,1")
    assert next(Recording(path, NOW).rows()).ts.year == 2025
    assert next(Recording(path, NOW, start=datetime(2022, 1, 1, tzinfo=UTC)).rows()).ts.year == 2022


def test_a_file_that_cannot_be_played_says_why(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="expected ts_utc"):
        next(Recording(write(tmp_path / "a.csv", "when,what", "1,2"), NOW).rows())
    with pytest.raises(RecordingError, match="--item"):
        next(Recording(write(tmp_path / "b.csv", "ts_utc,value", "2025-01-01T00:00:00Z,2"), NOW).rows())


@pytest.fixture
def far_from_utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Pacific/Auckland")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("far_from_utc")
def test_a_time_without_an_offset_is_utc_wherever_it_is_read(tmp_path: Path) -> None:
    path = write(
        tmp_path / "naive.csv", "ts_utc,value", "2025-01-01T06:00:00,7", "2025-01-01T06:00:00+02:00,8"
    )
    naive, offset = Recording(path, NOW, LEVEL).rows()
    assert naive.ts == datetime(2025, 1, 1, 6, tzinfo=UTC)
    assert offset.ts == datetime(2025, 1, 1, 4, tzinfo=UTC)


@pytest.mark.parametrize(
    ("header", "row", "reason"),
    [
        ("ts_utc,value", "yesterday,1", "ts_utc is 'yesterday'; expected an ISO 8601 time"),
        ("ts_utc,value", "0001-01-01T00:00:00+14:00,1", "ts_utc is .*; expected an ISO 8601 time"),
        ("ts_utc,value", "9999-01-01T00:00:00Z,1", "expected a year from 1998 to 2261"),
        ("ts_utc,value", "2025-01-01T00:00:00Z", "1 columns; expected ts_utc,value"),
        ("ts_utc,item,value", "2025-01-01T00:00:00Z,,1", "item is empty"),
        ("timestamp_hours,item,value", "nan,A,1", "timestamp_hours is 'nan'; expected hours since"),
        ("timestamp_hours,item,value", "1e9,A,1", "timestamp_hours is '1e9'; expected hours since"),
        ("ts_utc,value", '2025-01-01T00:00:00Z,"1', "unexpected end of data"),
    ],
)
def test_a_row_that_is_none_is_named_by_file_and_line(
    header: str, row: str, reason: str, tmp_path: Path
) -> None:
    good = {"ts_utc,value": "2025-01-01T00:00:00Z,1", "ts_utc,item,value": "2025-01-01T00:00:00Z,A,1"}
    path = write(tmp_path / "bad.csv", header, good.get(header, "24.5,A,1"), row)
    with pytest.raises(RecordingError, match=f"^{re.escape(str(path))}:3: .*{reason}"):
        list(Recording(path, NOW, LEVEL).rows())


def test_a_fixed_year_holds_for_any_span_and_at_any_later_time(tmp_path: Path) -> None:
    path = write(tmp_path / "hours.csv", "timestamp_hours,item,value", "12,A,1", "8000,A,1")
    fixed = Recording(path, NOW).with_fixed_year()
    assert fixed.year == 2026
    later = replace(fixed, now=NOW.replace(year=2031), start=datetime(2025, 12, 31, tzinfo=UTC))
    assert [row.ts for row in later.rows()] == [row.ts for row in Recording(path, NOW).rows()]


def test_rows_are_cut_to_the_asked_time(counting: Recording) -> None:
    start, stop = datetime(2024, 12, 31, 20, tzinfo=UTC), datetime(2024, 12, 31, 20, 30, tzinfo=UTC)
    rows = list(Recording(counting.path, NOW, LEVEL, start, stop).rows())
    assert [row.value for row in rows] == [str(n) for n in range(60, 90)]


@pytest.mark.parametrize(("speed", "seconds"), [(1, 1), (10, 2), (300, 60), (600, 60), (86_400, 4_320)])
def test_the_clock_ticks_often_but_does_not_flood(speed: float, seconds: float) -> None:
    assert tick_interval(speed) == timedelta(seconds=seconds)


def test_clock_ticks_lie_between_the_rows_in_order_of_time(counting: Recording) -> None:
    story = list(cues(counting, MINUTE / 2))
    assert [cue.due for cue in story] == sorted(cue.due for cue in story)
    ticks = [cue.due for cue in story if cue.item == "TIME_000001"]
    assert len(ticks) == 2 * 599 + 1 + 1
    assert {cue.fields[1] for cue in story if cue.item == "TIME_000002"} == {"2024", "2025"}


@pytest.mark.parametrize("values", [["7"], ["7", "nan"], ["nan"]])
def test_the_last_cue_is_a_tick_that_is_newer_than_all_rows(values: list[str], tmp_path: Path) -> None:
    rows = (f"2025-01-01T00:00:0{n}Z,{value}" for n, value in enumerate(values))
    *before, last = cues(Recording(write(tmp_path / "short.csv", "ts_utc,value", *rows), NOW, LEVEL), MINUTE)
    assert last.item == "TIME_000001"
    assert last.due > max(cue.due for cue in before)
    assert last.fields != next(cue.fields for cue in before if cue.item == "TIME_000001")


class Reader:
    """A client without sockets: binds, subscribes, and can die with lines in flight."""

    def __init__(self, switchboard: Switchboard) -> None:
        self._switchboard = switchboard
        self.lines: list[str] = []
        self._binding: Binding | None = None

    async def read(self) -> None:
        binding = self._switchboard.create(
            {"LS_adapter_set": "ISSLIVE", "LS_send_sync": "false"}, "127.0.0.1"
        )
        session = binding.session
        self._switchboard.control(
            {
                "LS_op": "add", "LS_subId": "1", "LS_mode": "MERGE", "LS_group": LEVEL,
                "LS_schema": "Value", "LS_snapshot": "true",
            },
            session,
        )  # fmt: skip
        try:
            async for lines in binding.batches():
                self.lines += lines
        finally:
            self._switchboard.release(session, binding)

    @property
    def values(self) -> list[int]:
        return [int(line.split(",", 3)[3]) for line in self.lines if line.startswith("U,") and line[6:]]


def play(scenario: Callable[[Switchboard], Awaitable[None]]) -> None:
    async def run() -> None:
        async with asyncio.timeout(20):
            await scenario(Switchboard())

    asyncio.run(run())


def test_playback_waits_for_a_reader_and_plays_everything_once(counting: Recording) -> None:
    async def scenario(switchboard: Switchboard) -> None:
        playback = Playback(switchboard, counting, speed=1e9)
        player = asyncio.create_task(playback.run())
        await asyncio.sleep(0.05)
        assert switchboard.latest(LEVEL) is None
        reader = Reader(switchboard)
        reading = asyncio.create_task(reader.read())
        await playback.finished.wait()
        await asyncio.sleep(0.05)
        assert reader.values == list(range(600))
        reading.cancel()
        player.cancel()

    play(scenario)


def test_playback_keeps_the_asked_speed(counting: Recording) -> None:
    async def scenario(switchboard: Switchboard) -> None:
        playback = Playback(switchboard, counting, speed=6000)
        player = asyncio.create_task(playback.run())
        reader = Reader(switchboard)
        reading = asyncio.create_task(reader.read())
        while not reader.values:
            await asyncio.sleep(0.001)
        began = asyncio.get_running_loop().time()
        while len(reader.values) < 100:
            await asyncio.sleep(0.001)
        assert 0.8 < asyncio.get_running_loop().time() - began < 2
        reading.cancel()
        player.cancel()

    play(scenario)


def test_a_reader_that_dies_with_lines_in_flight_misses_nothing(counting: Recording) -> None:
    async def scenario(switchboard: Switchboard) -> None:
        playback = Playback(switchboard, counting, speed=48_000, rewind_s=0.4)
        player = asyncio.create_task(playback.run())
        seen: set[int] = set()
        for stop_after in (150, 300, 450):
            reader = Reader(switchboard)
            reading = asyncio.create_task(reader.read())
            while stop_after not in reader.values:
                await asyncio.sleep(0.005)
            reading.cancel()
            # what came in the last 0.05 s (40 values) is lost with the reader
            seen |= {value for value in reader.values if value <= stop_after - 40}
            await asyncio.sleep(0.1)
        last = Reader(switchboard)
        reading = asyncio.create_task(last.read())
        while 599 not in last.values:
            await asyncio.sleep(0.005)
        assert seen | set(last.values) == set(range(600))
        reading.cancel()
        player.cancel()

    play(scenario)


def test_playback_pauses_while_nobody_reads(counting: Recording) -> None:
    async def scenario(switchboard: Switchboard) -> None:
        player = asyncio.create_task(Playback(switchboard, counting, speed=6000).run())
        reader = Reader(switchboard)
        reading = asyncio.create_task(reader.read())
        while len(reader.values) < 20:
            await asyncio.sleep(0.005)
        reading.cancel()
        await asyncio.sleep(0.05)
        before = switchboard.latest(LEVEL)
        await asyncio.sleep(0.2)
        assert switchboard.latest(LEVEL) == before
        player.cancel()

    play(scenario)
