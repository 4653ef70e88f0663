"""Forecasts that a level reaches a limit, against what came."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from evaluation.matching import event_types_of
from evaluation.station_run import StationRun
from iss_simulator.truth import TrueEvent
from peebot_dagster.detectors.detector import DetectedEvent, Detector

FORECAST = "_forecast"
"""An event type ends so when it tells beforehand of the truth of the kind before that."""

_HOUR = timedelta(hours=1)
_TOO_NEW = 12 * _HOUR
"""Of what comes so soon after the begin of the telemetry nobody could have known."""


@dataclass(frozen=True)
class ForecastScore:
    """How often a limit was `reached` without a pump, with a forecast, and within the interval of its first.

    `ahead_h`: how many hours before it was made; `off_h`: how many hours later than expected it came.
    """

    kind: str
    made: int
    reached: int
    forecast: int
    within: int
    ahead_h: tuple[float, ...]
    off_h: tuple[float, ...]


@dataclass(frozen=True)
class _Outcome:
    """A limit that was reached at `at` (UTC), and the first forecast of that."""

    at: datetime
    first: DetectedEvent | None

    @property
    def is_within(self) -> bool:
        if self.first is None:
            return False
        earliest, latest = (self.first.payload[name] for name in ("earliest_at", "latest_at"))
        too_late = latest is not None and self.at > datetime.fromisoformat(latest)
        return self.at >= datetime.fromisoformat(earliest) and not too_late


def forecast_kinds(detector: Detector) -> tuple[str, ...]:
    """The kinds of truth that the detector tells of beforehand."""
    return tuple(name.removesuffix(FORECAST) for name in detector.event_types if name.endswith(FORECAST))


def forecast_scores(detector: Detector, runs: Sequence[StationRun]) -> tuple[ForecastScore, ...]:
    """A score for each kind of forecast, over all runs. A forecast says what comes if nobody pumps: where
    somebody does, it is not judged."""
    return tuple(_score(kind, runs) for kind in forecast_kinds(detector))


def _score(kind: str, runs: Sequence[StationRun]) -> ForecastScore:
    outcomes = [outcome for run in runs for outcome in _outcomes(kind, run)]
    told = [(outcome, outcome.first) for outcome in outcomes if outcome.first is not None]
    expected = [datetime.fromisoformat(first.payload["expected_at"]) for _, first in told]
    return ForecastScore(
        kind=kind,
        made=sum(event.event_type == kind + FORECAST for run in runs for event in run.events),
        reached=len(outcomes),
        forecast=len(told),
        within=sum(outcome.is_within for outcome in outcomes),
        ahead_h=tuple((outcome.at - first.started_at) / _HOUR for outcome, first in told),
        off_h=tuple((outcome.at - at) / _HOUR for (outcome, _), at in zip(told, expected, strict=True)),
    )


def _outcomes(kind: str, run: StationRun) -> Iterator[_Outcome]:
    forecasts = [event for event in run.claimed if event.event_type == kind + FORECAST]
    # Of the same tank: `waste_tank_fill` tells of the tank of `waste_water_high`.
    tank = f"{kind.partition('_')[0]}_tank_"
    pumped = [event for event in run.known if any(t.startswith(tank) for t in event_types_of(event.kind))]
    for crossing in run.to_come:
        at = crossing.started_at
        if crossing.kind != kind or not run.window.start + _TOO_NEW <= at < run.until or run.since > at:
            continue
        if any(phase.started_at <= at <= phase.ended_at for phase in pumped):
            continue
        yield _Outcome(at, _first(forecasts, pumped, run.window.start, at))


def _first(
    forecasts: Sequence[DetectedEvent], pumped: Sequence[TrueEvent], start: datetime, at: datetime
) -> DetectedEvent | None:
    """The first forecast of what came at `at`: one made before it was pumped last was of something else."""
    since = max((phase.ended_at for phase in pumped if phase.ended_at < at), default=start)
    return next((event for event in forecasts if since <= event.started_at <= at), None)
