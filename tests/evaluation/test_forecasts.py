"""Forecasts are judged by what came when nobody pumped."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

import pandas as pd

from evaluation.forecasts import ForecastScore, forecast_scores
from evaluation.matching import Matching
from evaluation.station_run import StationRun
from iss_simulator.truth import Kind, TrueEvent
from peebot_dagster.detectors.detector import DetectedEvent, Window
from peebot_dagster.detectors.registry import DETECTORS

DETECTOR = DETECTORS["water_tanks"]
MIDNIGHT = datetime(2026, 3, 1, tzinfo=UTC)


def at(hour: float) -> datetime:
    return MIDNIGHT + timedelta(hours=hour)


def forecast(made: float, expected: float, earliest: float, latest: float | None) -> DetectedEvent:
    payload = {
        "expected_at": at(expected).isoformat(),
        "earliest_at": at(earliest).isoformat(),
        "latest_at": None if latest is None else at(latest).isoformat(),
    }
    moment = at(made)
    return DetectedEvent(
        uuid.uuid4(), "water_tanks", "1", "clean_water_low_forecast", DETECTOR.items[1],
        moment, moment, "closed", 0.8, payload,
    )  # fmt: skip


def truth(kind: Kind, start: float, end: float | None = None) -> TrueEvent:
    return TrueEvent(kind, DETECTOR.items[1], at(start), at(start if end is None else end))


def score(
    came: list[TrueEvent], forecasts: list[DetectedEvent], pumped: list[TrueEvent] | None = None
) -> ForecastScore:
    window = Window(MIDNIGHT, at(240), pd.DataFrame())
    run = StationRun(
        1, at(20), at(230), window, tuple(pumped or ()), tuple(forecasts), Matching((), (), ()), tuple(came)
    )
    (found,) = (one for one in forecast_scores(DETECTOR, [run]) if one.kind == "clean_water_low")
    return found


def test_the_first_forecast_of_an_approach_is_judged_by_its_interval() -> None:
    forecasts = [forecast(60, 66, 64, 70), forecast(64, 68, 68.5, None)]

    found = score([truth("clean_water_low", 68)], forecasts)

    assert (found.made, found.reached, found.forecast, found.within) == (2, 1, 1, 1)
    assert (found.ahead_h, found.off_h) == ((8.0,), (2.0,))


def test_what_comes_before_or_after_the_interval_is_not_within_it() -> None:
    assert score([truth("clean_water_low", 63)], [forecast(60, 66, 64, 70)]).within == 0
    assert score([truth("clean_water_low", 71)], [forecast(60, 66, 64, 70)]).within == 0
    assert score([truth("clean_water_low", 99)], [forecast(60, 66, 64, None)]).within == 1


def test_what_nobody_foretold_is_counted_as_reached_without_a_forecast() -> None:
    found = score([truth("clean_water_low", 68)], [forecast(69, 70, 69, 71)])

    assert (found.reached, found.forecast, found.within) == (1, 0, 0)


def test_a_forecast_from_before_the_last_pumping_foretold_something_else() -> None:
    pumped = [truth("clean_tank_fill", 62, 65)]

    found = score([truth("clean_water_low", 68)], [forecast(60, 66, 64, 70)], pumped)

    assert (found.reached, found.forecast) == (1, 0)


def test_a_limit_that_a_pump_reached_is_not_judged_but_the_pump_of_the_other_tank_changes_nothing() -> None:
    forecasts = [forecast(60, 66, 64, 70)]

    assert score([truth("clean_water_low", 68)], forecasts, [truth("clean_tank_drain", 67, 69)]).reached == 0
    assert score([truth("clean_water_low", 68)], forecasts, [truth("waste_tank_drain", 67, 69)]).within == 1
