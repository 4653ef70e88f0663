from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from peebot_dagster.detectors.detector import DetectedEvent, LiveInterval, Window
from peebot_dagster.detectors.drained_amount import steps_between
from peebot_dagster.detectors.held_values import held_values
from peebot_dagster.detectors.level_readings import microseconds, moment_of
from peebot_dagster.detectors.recording import read_recording
from peebot_dagster.detectors.upa_cycle import UpaCycleDetector

DETECTOR = UpaCycleDetector()
STATE, LEVEL = DETECTOR.items
NOON = datetime(2025, 1, 10, 12, tzinfo=UTC)
INITIALISED, NORMAL, SHUTDOWN, STANDBY = 128, 16, 4, 32
SECONDS_PER_PERCENT = 1000 / 3
"""10.8 % an hour."""


class Processor:
    """A tank and its processor, written down from noon on: each verb takes up where the one before ended."""

    def __init__(self, telemetry: Any, level: float = 60.9) -> None:
        self.telemetry = telemetry
        self.now = NOON
        self.true_level = level
        self.rows: list[tuple[datetime, str, float, int]] = []
        self.says(STANDBY).reads()

    def says(self, state: float, after: float = 0.0, status: int = 24) -> Processor:
        self.now += timedelta(seconds=after)
        self.rows.append((self.now, STATE, state, status))
        return self

    def reads(self, dither: float = 0.0, status: int = 24) -> Processor:
        value = float(int(self.true_level + dither)) if status == 24 else -5.0
        self.rows.append((self.now, LEVEL, value, status))
        return self

    def waits(self, seconds: float) -> Processor:
        self.now += timedelta(seconds=seconds)
        return self

    def drains(self, percent: float, seconds_per_percent: float = SECONDS_PER_PERCENT) -> Processor:
        """Fall steadily, read each 20 s with dither of 0.06 % at the borders."""
        for number in range(round(percent * seconds_per_percent / 20)):
            self.waits(20)
            self.true_level -= 20 / seconds_per_percent
            self.reads(0.06 * (-1) ** number)
        return self

    def visited(self, percent: float) -> Processor:
        """A rise at 6 s per 1 %."""
        for _ in range(round(percent)):
            self.waits(6)
            self.true_level += 1
            self.reads()
        return self

    def cycle(self, percent: float = 55.0) -> Processor:
        return (
            self.waits(600)
            .says(INITIALISED)
            .says(NORMAL, after=90)
            .drains(percent)
            .says(SHUTDOWN)
            .waits(7200)
        )

    def window(self, minutes: float | None = None) -> Window:
        end = self.now if minutes is None else NOON + timedelta(minutes=minutes)
        rows = sorted(row for row in self.rows if row[0] < end)
        window: Window = self.telemetry.window(rows, NOON, end)
        return window

    def events(self, minutes: float | None = None) -> list[DetectedEvent]:
        return DETECTOR.detect(self.window(minutes))


@pytest.fixture
def processor(telemetry: Any) -> Processor:
    return Processor(telemetry)


def test_a_loss_of_signal_just_after_the_end_of_a_cycle_closes_none_that_goes_on(
    processor: Processor,
) -> None:
    processor.waits(600).says(NORMAL).drains(10).says(STANDBY)
    left = processor.now
    lost = (left + timedelta(seconds=40), left + timedelta(seconds=340))
    processor.says(NORMAL, after=342).drains(10).says(SHUTDOWN).waits(3600)

    def told(end: datetime) -> list[DetectedEvent]:
        live = (LiveInterval(NOON, min(lost[0], end)), LiveInterval(lost[1], max(lost[1], end)))
        window = processor.window((end - NOON) / timedelta(minutes=1))
        return DETECTOR.detect(replace(window, live=live if end > lost[1] else live[:1]))

    for seconds in range(0, 900, 10):
        (event,) = told(left + timedelta(seconds=seconds))
        assert event.state == "open"
    (event,) = told(processor.now)
    assert event.state == "closed"
    assert event.payload["state_after"] == "shutdown"


def test_a_cycle_lasts_from_normal_to_the_state_after_it(processor: Processor) -> None:
    (event,) = processor.cycle().events()
    assert event.event_type == "upa_processing_cycle"
    assert event.started_at == NOON + timedelta(seconds=690)
    assert event.ended_at == event.started_at + timedelta(seconds=event.payload["duration_seconds"])
    assert (event.payload["state_before"], event.payload["state_after"]) == ("system initialised", "shutdown")
    assert (event.state, event.confidence) == ("closed", 0.95)
    assert "the tank was empty" in event.payload["reasons"]


def test_the_amount_is_what_was_drained_dither_or_not(processor: Processor) -> None:
    (event,) = processor.cycle(55).events()
    assert event.payload["amount_percent"] == pytest.approx(55, abs=0.5)
    assert event.payload["amount_ml"] == pytest.approx(55 * 82, abs=45)
    assert event.payload["rate_percent_per_hour"] == pytest.approx(10.8, abs=0.05)
    assert event.payload["rises_percent"] == 0


def test_what_people_add_meanwhile_is_drained_too(processor: Processor) -> None:
    processor.waits(600).says(INITIALISED).says(NORMAL, after=90)
    for _ in range(4):
        processor.drains(12).visited(4)
    processor.drains(12).says(SHUTDOWN).waits(7200)
    (event,) = processor.events()
    assert event.payload["amount_percent"] == pytest.approx(60, abs=1.0)
    assert event.payload["rate_percent_per_hour"] == pytest.approx(10.8, abs=0.1)
    assert 10 <= event.payload["rises_percent"] <= 16


def test_a_fast_drain_and_a_sensor_that_jumps_are_not_its_work(processor: Processor) -> None:
    processor.waits(600).says(INITIALISED).says(NORMAL, after=90).drains(20)
    processor.drains(10, seconds_per_percent=20).drains(20).says(SHUTDOWN).waits(7200)
    (event,) = processor.events()
    assert event.payload["amount_percent"] == pytest.approx(40, abs=2.0)
    assert event.payload["other_falls_percent"] == pytest.approx(10, abs=1)
    jumping = Processor(processor.telemetry).waits(600).says(INITIALISED).says(NORMAL, after=90).drains(10)
    jumping.true_level -= 20
    (event,) = jumping.waits(5).reads().drains(15).says(SHUTDOWN).waits(7200).events()
    assert event.payload["amount_percent"] == pytest.approx(25, abs=2.0)
    assert event.payload["other_falls_percent"] == pytest.approx(20, abs=1)


def test_a_running_cycle_is_open_and_grows_under_one_id(processor: Processor) -> None:
    processor.cycle()
    tellings = [processor.events(minutes)[0] for minutes in (13, 60, 120, 240)]
    assert {event.state for event in tellings} == {"open"}
    assert {event.ended_at for event in tellings} == {None}
    assert len({(event.event_id, event.started_at) for event in tellings}) == 1
    amounts = [event.payload["amount_percent"] for event in tellings]
    assert amounts[0] is None
    assert amounts[1] < amounts[2] < amounts[3]


def test_an_open_cycle_does_not_change_while_nothing_is_read(processor: Processor) -> None:
    processor.waits(600).says(NORMAL).drains(10).waits(1200)
    after, later = (
        DETECTOR.detect(replace(processor.window(), end=processor.now - timedelta(minutes=m)))
        for m in (15, 1)
    )
    assert after == later


def test_a_minute_of_another_state_does_not_part_a_cycle(processor: Processor) -> None:
    processor.waits(600).says(NORMAL).drains(20).says(STANDBY).says(NORMAL, after=30).drains(20)
    (event,) = processor.says(SHUTDOWN).waits(7200).events()
    assert event.payload["amount_percent"] == pytest.approx(40, abs=0.6)


def test_a_blip_of_normal_is_no_cycle(processor: Processor) -> None:
    assert processor.waits(600).says(NORMAL).says(STANDBY, after=20).waits(7200).events() == []


def test_a_cycle_that_began_before_the_telemetry_is_not_told(telemetry: Any) -> None:
    late = Processor(telemetry)
    late.rows = [(NOON, STATE, NORMAL, 24)]
    assert late.drains(20).says(SHUTDOWN).waits(7200).events() == []


def test_a_cycle_without_an_end_is_closed_after_eighteen_hours(processor: Processor) -> None:
    processor.waits(600).says(NORMAL).drains(50).waits(20 * 3600)
    (event,) = processor.events()
    assert (event.state, event.payload["state_after"]) == ("closed", None)
    assert event.ended_at == event.started_at + timedelta(hours=18)
    assert event.confidence <= 0.5


def test_an_end_out_of_sight_is_an_interval(processor: Processor) -> None:
    window = processor.cycle().window()
    ended_at = next(ts for ts, item, value, _ in processor.rows if value == SHUTDOWN and item == STATE)
    away_at = ended_at - timedelta(minutes=5)
    live = (LiveInterval(NOON, away_at), LiveInterval(ended_at, window.end))
    heard = window.readings[(window.readings["ts"] < away_at) | (window.readings["ts"] >= ended_at)]
    (event,) = DETECTOR.detect(replace(window, readings=heard, live=live))
    assert event.payload["end_hidden_since"] == away_at.isoformat()
    assert event.payload["masked"] is False
    assert event.confidence == 0.7


def test_bad_readings_change_neither_the_cycle_nor_the_amount(processor: Processor) -> None:
    clean = processor.cycle().events()
    for seconds in (700, 3000, 9000):
        at = NOON + timedelta(seconds=seconds, milliseconds=1)
        processor.rows += [
            (at, STATE, 3.0, 24),
            (at + timedelta(milliseconds=1), STATE, float(STANDBY), 1),
            (at + timedelta(milliseconds=2), STATE, float(NORMAL), 24),
            (at, LEVEL, float("nan"), 24),
            (at, LEVEL, 250.0, 24),
            (at, LEVEL, 2.0, 2),
        ]
    assert processor.events() == clean


def drains_of(window: Window) -> list[tuple[datetime, datetime]]:
    """The long falls of a recording without states: falls of the level with pauses of at most 15 min."""
    held = held_values(window, LEVEL, 0, 100)
    falls = [
        step.at for step in steps_between(held, microseconds(window.start), held.end) if -3 < step.size < 0
    ]
    runs: list[list[int]] = []
    for at in falls:
        if runs and at - runs[-1][-1] <= 15 * 60 * 1_000_000:
            runs[-1].append(at)
        else:
            runs.append([at])
    return [(moment_of(run[0]), moment_of(run[-1])) for run in runs if len(run) >= 40]


def test_real_drains_are_as_steady_as_the_amount_takes_them_to_be(real_recording: Path) -> None:
    """The recording holds no states. Where its level falls as in a cycle, a state is written beside it: then
    the amount must be the mass balance, and the rate that of the real processor."""
    window = read_recording(real_recording, LEVEL)
    drains = drains_of(window)
    assert len(drains) >= 20
    said = [(at, state) for begin, end in drains for at, state in ((begin, NORMAL), (end, STANDBY))]
    states = pd.DataFrame(
        {
            "ts": pd.to_datetime([window.start, *(at for at, _ in said)], utc=True),
            "item": STATE,
            "value": [float(STANDBY), *(float(state) for _, state in said)],
            "status_class": pd.array([pd.NA] * (len(said) + 1), dtype="Int64"),
        }
    )
    readings = pd.concat([window.readings, states]).sort_values("ts", kind="stable", ignore_index=True)
    events = DETECTOR.detect(replace(window, readings=readings))
    assert [event.started_at for event in events] == [begin for begin, _ in drains]
    slow = [event for event in events if event.payload["duration_seconds"] > 7200]
    fast = [event for event in events if event.payload["duration_seconds"] < 7200]
    assert (len(slow) >= 25, len(fast) >= 5) == (True, True)
    rates = [event.payload["rate_percent_per_hour"] for event in slow]
    assert pd.Series(rates).median() == pytest.approx(11.7, abs=0.3)
    assert all(10 < rate < 13.5 for rate in rates)
    for payload in (event.payload for event in slow):
        balance = payload["level_before_percent"] - payload["level_after_percent"] + payload["rises_percent"]
        # The backlash of 1 % swallows up to 1 % of each rise: the balance is the least that was drained.
        assert -1 <= payload["amount_percent"] - balance <= 12
    for payload in (event.payload for event in fast):
        assert payload["amount_percent"] is None
        assert payload["other_falls_percent"] >= 40
