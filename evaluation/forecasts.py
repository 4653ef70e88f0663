"""Forecasts that a level reaches a limit, against what came."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from evaluation.station_run import FORECAST, StationRun
from iss_simulator.truth import TrueEvent
from peebot_dagster.detectors.detector import DetectedEvent, Detector

Outcome = Literal["within", "sooner", "later or never", "pumped", "not yet known"]
"""What became of a forecast: the limit was reached in its interval, before, or after it; somebody pumped
first; it says no latest time, or the telemetry ends before it, and nothing has come."""

_PUMPED = ("_fill", "_drain")
_HOUR = timedelta(hours=1)
_UNKNOWN_BEFORE = 12 * _HOUR
"""Of what comes so soon after the begin of the telemetry nobody could have known."""


@dataclass(frozen=True)
class ForecastScore:
    """What became of the forecasts of a kind.

    `reached`: how often the limit was, while nobody pumped; `foretold`: how many of these had a forecast.
    `ahead_h`: how many hours before a limit was reached its forecast was made; `off_h`: how many hours later
    than expected it came.
    """

    kind: str
    outcomes: Counter[Outcome]
    reached: int
    foretold: int
    ahead_h: tuple[float, ...]
    off_h: tuple[float, ...]


@dataclass(frozen=True)
class _Judged:
    forecast: DetectedEvent
    outcome: Outcome
    came: TrueEvent | None = None


def forecast_scores(detector: Detector, runs: Sequence[StationRun]) -> tuple[ForecastScore, ...]:
    """A score for each kind of forecast, over all runs; a truth that is foretold has the kind's name without
    `_forecast`."""
    kinds = [name.removesuffix(FORECAST) for name in detector.event_types if name.endswith(FORECAST)]
    return tuple(_score(kind, runs) for kind in kinds)


def _score(kind: str, runs: Sequence[StationRun]) -> ForecastScore:
    judged = [(run, one) for run in runs for one in _judged(kind, run)]
    told = [(one.forecast, one.came.started_at) for _, one in judged if one.came is not None]
    reached = [(run.seed, came.started_at) for run in runs for came in _reached(kind, run)]
    foretold = {(run.seed, one.came.started_at) for run, one in judged if one.came is not None}
    return ForecastScore(
        kind=kind,
        outcomes=Counter(
            one.outcome for run, one in judged if run.since <= one.forecast.started_at < run.until
        ),
        reached=len(reached),
        foretold=len(foretold & set(reached)),
        ahead_h=tuple((at - forecast.started_at) / _HOUR for forecast, at in told),
        off_h=tuple((at - _time(forecast, "expected_at")) / _HOUR for forecast, at in told),
    )


def _judged(kind: str, run: StationRun) -> Iterator[_Judged]:
    # Also those made before the time that counts: what they tell of may come in it.
    for forecast in run.claimed:
        if forecast.event_type != kind + FORECAST:
            continue
        made = forecast.started_at
        came = next((c for c in run.to_come if c.kind == kind and c.started_at >= made), None)
        pumped = next((p.started_at for p in _pumpings(run, forecast.item) if p.ended_at > made), None)
        latest = _time(forecast, "latest_at") if forecast.payload["latest_at"] else None
        yield _outcome(forecast, came, pumped, latest, run.window.end)


def _outcome(
    forecast: DetectedEvent,
    came: TrueEvent | None,
    pumped: datetime | None,
    latest: datetime | None,
    end: datetime,
) -> _Judged:
    """What comes first decides: the limit is reached, somebody pumps, or the interval is over."""
    at = came.started_at if came is not None else None
    first = min(moment for moment in (at, pumped, latest, end) if moment is not None)
    if at is not None and first == at:
        return _Judged(forecast, "sooner" if at < _time(forecast, "earliest_at") else "within", came)
    if pumped is not None and first == pumped:
        return _Judged(forecast, "pumped")
    if latest is not None and first == latest:
        is_late = at is not None and (pumped is None or at < pumped)
        return _Judged(forecast, "later or never", came if is_late else None)
    return _Judged(forecast, "not yet known")


def _reached(kind: str, run: StationRun) -> Iterator[TrueEvent]:
    """The limits that were reached while nobody pumped."""
    since = max(run.since, run.window.start + _UNKNOWN_BEFORE)
    for came in run.to_come:
        if came.kind != kind or not since <= came.started_at < run.until:
            continue
        if not any(p.started_at <= came.started_at <= p.ended_at for p in _pumpings(run, came.item)):
            yield came


def _pumpings(run: StationRun, item: str) -> Iterator[TrueEvent]:
    return (event for event in run.known if event.item == item and event.kind.endswith(_PUMPED))


def _time(forecast: DetectedEvent, name: str) -> datetime:
    return datetime.fromisoformat(forecast.payload[name])
