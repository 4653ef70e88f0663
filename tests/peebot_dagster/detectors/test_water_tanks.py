from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest

from peebot_dagster.detectors.detector import DetectedEvent, LiveInterval, Window
from peebot_dagster.detectors.water_tanks import WaterTanksDetector

DETECTOR = WaterTanksDetector()
WASTE, CLEAN, STATE = DETECTOR.items
MIDNIGHT = datetime(2025, 1, 10, tzinfo=UTC)
STANDBY, PROCESS = 3.0, 4.0
Course = Sequence[tuple[float, float]]
"""Hours and % an hour, one stretch after the other."""
Make = Callable[..., Window]


def level_at(course: Course, start: float, hours: float) -> float:
    level = start
    for length, rate in course:
        level += rate * min(max(hours, 0.0), length)
        hours -= length
    return level


@pytest.fixture(scope="module")
def window(telemetry: Any) -> Make:
    """Telemetry of one tank: a reading every two minutes, noisy or in whole multiples of `quantum`."""

    def made(
        course: Course,
        start: float = 60.0,
        item: str = WASTE,
        noise: float = 0.03,
        quantum: float = 0.01,
        states: Sequence[tuple[float, float]] = (),
        away: Sequence[tuple[float, float]] = (),
    ) -> Window:
        random = Random(7)
        total = sum(length for length, _ in course)

        def is_heard(hours: float) -> bool:
            return not any(begin <= hours < end for begin, end in away)

        rows = [(MIDNIGHT + timedelta(hours=at), STATE, state, 24) for at, state in states if is_heard(at)]
        last = None
        for number in range(int(total * 30)):
            hours = number / 30
            level = level_at(course, start, hours) + random.gauss(0, noise)
            value = round(level / quantum) * quantum
            if is_heard(hours) and value != last:
                rows.append((MIDNIGHT + timedelta(hours=hours), item, value, 24))
                last = value
        edges = [0.0, *(edge for gap in away for edge in gap), total]
        live = tuple(
            LiveInterval(MIDNIGHT + timedelta(hours=a), MIDNIGHT + timedelta(hours=b))
            for a, b in zip(edges[::2], edges[1::2], strict=True)
        )
        end = MIDNIGHT + timedelta(hours=total)
        return replace(telemetry.window(sorted(rows), MIDNIGHT, end), live=live)

    return made


def hours(moment: datetime | None) -> float:
    assert moment is not None
    return (moment - MIDNIGHT) / timedelta(hours=1)


def of_type(events: list[DetectedEvent], event_type: str) -> list[DetectedEvent]:
    return [event for event in events if event.event_type == event_type]


RUN: Course = ((10, 1.2), (4, -10.0), (10, 1.0))
PROCESSED = ((0, STANDBY), (9.4, PROCESS), (14, STANDBY))
MINUTES = 1 / 60


def test_a_drain_is_told_with_its_time_rate_and_amount(window: Make) -> None:
    (event,) = of_type(DETECTOR.detect(window(RUN, states=PROCESSED)), "waste_tank_drain")
    assert hours(event.started_at) == pytest.approx(10, abs=3 * MINUTES)
    assert hours(event.ended_at) == pytest.approx(14, abs=3 * MINUTES)
    assert event.payload["rate_percent_per_hour"] == pytest.approx(-10, abs=0.1)
    assert event.payload["amount_percent"] == pytest.approx(40, abs=0.5)
    assert event.payload["level_before_percent"] == pytest.approx(72, abs=0.5)
    assert event.payload["water_processor_running"] is True
    assert (event.state, event.confidence) == ("closed", 0.95)


@pytest.mark.parametrize(
    ("noise", "quantum"), [(0.05, 0.01), (0.02, 0.1), (0.0, 0.5), (0.3, 1.0), (0.0, 1.0)]
)
def test_neither_noise_nor_whole_percents_hide_or_make_a_phase(
    window: Make, noise: float, quantum: float
) -> None:
    events = DETECTOR.detect(window(RUN, states=PROCESSED, noise=noise, quantum=quantum))
    (event,) = [event for event in events if event.event_type.endswith(("drain", "fill"))]
    assert event.event_type == "waste_tank_drain"
    assert hours(event.started_at) == pytest.approx(10, abs=12 * MINUTES)
    assert hours(event.ended_at) == pytest.approx(14, abs=12 * MINUTES)
    assert event.payload["rate_percent_per_hour"] == pytest.approx(-10, abs=0.6)


@pytest.mark.parametrize("rate", [1.7, -1.7, 0.0])
@pytest.mark.parametrize("quantum", [0.01, 1.0])
def test_what_people_and_air_do_to_a_tank_is_no_phase(window: Make, rate: float, quantum: float) -> None:
    events = DETECTOR.detect(window(((24, rate),), start=50, quantum=quantum))
    assert [event for event in events if event.event_type.endswith(("drain", "fill"))] == []


def test_a_fill_without_the_water_processor_says_so(window: Make) -> None:
    course = ((8, -0.9), (0.6, 15.0), (8, -0.9))
    (event,) = of_type(
        DETECTOR.detect(window(course, start=40, item=CLEAN, states=((0, STANDBY),))), "clean_tank_fill"
    )
    assert event.payload["amount_percent"] == pytest.approx(9, abs=0.7)
    assert event.payload["water_processor_running"] is False
    assert event.confidence == 0.8
    assert "the water processor was not processing" in event.payload["reasons"]


def test_a_running_phase_is_open_and_keeps_its_id_and_start(window: Make) -> None:
    whole = window(RUN, states=PROCESSED)
    told = []
    for ten_minutes in range(60, 24 * 6):
        end = MIDNIGHT + timedelta(minutes=10 * ten_minutes)
        rows = whole.readings[whole.readings["ts"] < end]
        told += of_type(
            DETECTOR.detect(Window(whole.start, end, rows, (LiveInterval(whole.start, end),))),
            "waste_tank_drain",
        )
    assert len({(event.event_id, event.started_at) for event in told}) == 1
    states = [event.state for event in told]
    assert states == sorted(states, reverse=True)
    assert hours(told[0].started_at) == pytest.approx(10, abs=5 * MINUTES)
    amounts = [event.payload["amount_percent"] for event in told if event.state == "open"]
    assert amounts[0] < 10 < 35 < max(amounts)


@pytest.mark.parametrize("minutes", [20, 50])
def test_a_pause_of_less_than_an_hour_is_one_within_the_phase(window: Make, minutes: int) -> None:
    course = ((8, 1.0), (2, -10.0), (minutes / 60, 0.0), (2, -10.0), (8, 1.0))
    (event,) = of_type(DETECTOR.detect(window(course, start=70)), "waste_tank_drain")
    assert event.payload["amount_percent"] == pytest.approx(40, abs=0.6)


def test_a_turn_out_of_sight_is_an_interval(window: Make) -> None:
    events = DETECTOR.detect(window(RUN, states=PROCESSED, away=((9.9, 10.8), (13.5, 14.4))))
    (event,) = of_type(events, "waste_tank_drain")
    assert event.payload["masked"] is True
    since = datetime.fromisoformat(event.payload["hidden_since"])
    assert hours(since) <= 10 <= hours(event.started_at) <= 11
    end_since = datetime.fromisoformat(event.payload["end_hidden_since"])
    assert hours(end_since) <= 14 <= hours(event.ended_at) <= 14.6
    assert event.payload["amount_percent"] == pytest.approx(40, abs=1)
    assert event.payload["rate_percent_per_hour"] == pytest.approx(-10, abs=0.3)
    assert event.confidence <= 0.6


def test_a_loss_of_signal_within_a_phase_does_not_part_it(window: Make) -> None:
    (event,) = of_type(
        DETECTOR.detect(window(RUN, states=PROCESSED, away=((11.5, 12.8),))), "waste_tank_drain"
    )
    assert (event.payload["masked"], event.payload["end_hidden_since"]) == (False, None)
    assert event.payload["amount_percent"] == pytest.approx(40, abs=0.5)


def with_rows(telemetry: Any, whole: Window, rows: Sequence[tuple[float, str, float, int]]) -> Window:
    """The window with readings more: hours, item, value, status class."""
    known = [
        (row.ts.to_pydatetime(), row.item, row.value, row.status_class)
        for row in whole.readings.itertuples(index=False)
    ]
    known += [(MIDNIGHT + timedelta(hours=at), item, value, status) for at, item, value, status in rows]
    added: Window = telemetry.window(sorted(known, key=lambda row: row[0]), whole.start, whole.end)
    return replace(added, live=whole.live)


def test_spikes_and_bad_readings_make_no_phase(window: Make, telemetry: Any) -> None:
    whole = window(((24, 1.0),), start=40)
    spikes = [(5.005, WASTE, 95.0, 24), (9.005, WASTE, 0.0, 24), (9.04, WASTE, 0.0, 24)]
    bad = [(7.005, WASTE, float("nan"), 24), (8.005, WASTE, 500.0, 24), (12.005, WASTE, 0.0, 1)]
    assert DETECTOR.detect(with_rows(telemetry, whole, spikes + bad)) == DETECTOR.detect(whole)


def test_a_sensor_that_jumps_is_no_pump(window: Make) -> None:
    course = ((8, 0.5), (0.001, 20_000.0), (8, 0.5))
    assert DETECTOR.detect(window(course, start=30)) == []


def test_the_low_level_is_forecast_once_with_an_honest_interval(window: Make) -> None:
    course = ((40, -1.0),)
    (event,) = of_type(DETECTOR.detect(window(course, start=50, item=CLEAN)), "clean_water_low_forecast")
    assert (event.state, event.ended_at) == ("closed", event.started_at)
    # 20 % are reached after 30 h; 12 h before, that comes into reach.
    assert hours(event.started_at) == pytest.approx(18, abs=1)
    times = [
        datetime.fromisoformat(event.payload[f"{name}_at"]) for name in ("earliest", "expected", "latest")
    ]
    assert times == sorted(times)
    assert hours(times[1]) == pytest.approx(30, abs=0.5)
    assert hours(times[0]) < 28
    assert hours(times[2]) > 32
    assert event.payload["limit_percent"] == 20
    assert event.payload["rate_percent_per_hour"] == pytest.approx(-1, abs=0.05)


def test_the_high_level_is_forecast_for_the_waste_tank(window: Make) -> None:
    (event,) = DETECTOR.detect(window(((30, 1.0),), start=55))
    assert event.event_type == "waste_water_high_forecast"
    assert hours(datetime.fromisoformat(event.payload["expected_at"])) == pytest.approx(25, abs=0.5)


@pytest.mark.parametrize(
    ("course", "start"),
    [(((20, -0.05),), 22.0), (((20, 0.5),), 25.0), (((20, -0.5),), 80.0), (((20, -0.5),), 15.0)],
)
def test_there_is_no_forecast_of_what_is_far_does_not_come_or_is_here(
    window: Make, course: Course, start: float
) -> None:
    assert DETECTOR.detect(window(course, start=start, item=CLEAN)) == []


def test_a_forecast_does_not_change_with_what_comes_later(window: Make) -> None:
    calm = DETECTOR.detect(window(((40, -1.0),), start=50, item=CLEAN))
    refilled = DETECTOR.detect(window(((20, -1.0), (4, 10.0), (16, -1.0)), start=50, item=CLEAN))
    assert calm[0] == of_type(refilled, "clean_water_low_forecast")[0]


def test_a_forecast_made_in_a_gap_does_not_change_with_what_comes_after_the_gap(window: Make) -> None:
    course = ((7.7, -1.5), (1, 30.0), (4, -1.0))
    whole = window(course, start=49, item=CLEAN, away=[(7.67, 8.35)])
    then = MIDNIGHT + timedelta(hours=8.1)
    readings = whole.readings[whole.readings["ts"] < then]
    (live, *_) = whole.live or ()
    early = of_type(DETECTOR.detect(Window(whole.start, then, readings, (live,))), "clean_water_low_forecast")
    assert [hours(event.started_at) for event in early] == [8]
    late = of_type(DETECTOR.detect(whole), "clean_water_low_forecast")
    assert [event for event in late if event.started_at < then] == early


def test_after_a_fill_a_new_approach_has_a_new_forecast(window: Make) -> None:
    course = ((22, -1.0), (0.3, 20.0), (14, -1.0))
    events = DETECTOR.detect(window(course, start=45, item=CLEAN))
    assert len(of_type(events, "clean_water_low_forecast")) == 2


def test_a_run_of_the_water_processor_tells_what_both_tanks_did(window: Make, telemetry: Any) -> None:
    waste = window(RUN, states=PROCESSED)
    clean = window(((10, -1.0), (4, 9.0), (10, -1.0)), start=40, item=CLEAN)
    rows = [
        ((row.ts.to_pydatetime() - MIDNIGHT) / timedelta(hours=1), row.item, row.value, 24)
        for row in clean.readings.itertuples(index=False)
    ]
    events = DETECTOR.detect(with_rows(telemetry, waste, rows))
    (run,) = of_type(events, "water_processor_run")
    assert (hours(run.started_at), hours(run.ended_at)) == (pytest.approx(9.4), pytest.approx(14))
    assert (run.payload["state_before"], run.payload["state_after"]) == ("standby", "standby")
    assert run.payload["waste_before_percent"] - run.payload["waste_after_percent"] == pytest.approx(
        39.3, abs=0.5
    )
    assert run.payload["clean_after_percent"] - run.payload["clean_before_percent"] == pytest.approx(
        35.4, abs=0.5
    )
    assert {event.event_type for event in events} >= {"waste_tank_drain", "clean_tank_fill"}


def test_a_run_is_open_until_its_end_and_a_blip_does_not_end_it(window: Make) -> None:
    states = ((0, STANDBY), (9.4, PROCESS), (11, 5.0), (11 + 20 / 3600, PROCESS))
    (run,) = of_type(DETECTOR.detect(window(RUN[:2], states=states)), "water_processor_run")
    assert (run.state, run.ended_at) == ("open", None)


def test_no_two_events_share_an_id(window: Make) -> None:
    course = ((22, -1.0), (0.3, 20.0), (14, -1.0), (1, -12.0), (8, -0.5))
    events = DETECTOR.detect(window(course, start=60, item=CLEAN))
    assert len(events) >= 3
    assert len({event.event_id for event in events}) == len(events)
