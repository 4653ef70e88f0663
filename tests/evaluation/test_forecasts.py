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


def outcome(
    came: float | None, pumped: float | None = None, latest: float | None = 70, pump: str = "clean_tank_fill"
) -> str:
    """What becomes of a forecast, made at 60 h, that the limit is reached from 64 h on."""
    found = score(
        [] if came is None else [truth("clean_water_low", came)],
        [forecast(60, 66, 64, latest)],
        [] if pumped is None else [truth(pump, pumped, pumped + 2)],
    )
    (only,) = found.outcomes.elements()
    return only


def test_a_forecast_is_judged_by_its_interval() -> None:
    assert outcome(came=63.9) == "sooner"
    assert outcome(came=64) == "within"
    assert outcome(came=70) == "within"
    assert outcome(came=70.1) == "later or never"
    assert outcome(came=None) == "later or never"


def test_without_a_latest_time_it_is_not_known_until_something_comes() -> None:
    assert outcome(came=None, latest=None) == "not yet known"
    assert outcome(came=200, latest=None) == "within"
    assert outcome(came=None, latest=241) == "not yet known", "the telemetry ends before"


def test_where_somebody_pumps_first_nothing_is_judged() -> None:
    assert outcome(came=68, pumped=65) == "pumped"
    assert outcome(came=None, pumped=65, latest=None) == "pumped"
    assert outcome(came=68, pumped=69) == "within"
    assert outcome(came=None, pumped=71) == "later or never"


def test_a_forecast_from_before_the_time_that_counts_is_counted_only_as_what_foretold() -> None:
    found = score([truth("clean_water_low", 24)], [forecast(19, 25, 23, 30)])

    assert (found.outcomes.total(), found.reached, found.foretold) == (0, 1, 1)


def test_another_tank_that_is_pumped_changes_nothing() -> None:
    other = TrueEvent("waste_tank_drain", DETECTOR.items[0], at(65), at(67))
    found = score([truth("clean_water_low", 68)], [forecast(60, 66, 64, 70)], [other])
    assert dict(found.outcomes) == {"within": 1}


def test_what_was_reached_unpumped_is_counted_with_and_without_a_forecast() -> None:
    came = [truth("clean_water_low", hour) for hour in (10, 68, 120, 235)]

    found = score(
        came, [forecast(60, 66, 64, 70), forecast(64, 66, 65, 70)], [truth("clean_tank_drain", 119, 121)]
    )

    # At 10 h it is too soon to know, at 120 h somebody pumps, and 235 h is beyond what counts.
    assert (found.reached, found.foretold) == (1, 1)
    assert (found.ahead_h, found.off_h) == ((8.0, 4.0), (2.0, 2.0))
    assert score([truth("clean_water_low", 68)], []).foretold == 0
