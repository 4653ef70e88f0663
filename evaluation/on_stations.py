"""A detector on simulated stations: what it finds of what is known to have happened."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from evaluation.beside_naive_rules import naive_on_stations, tells_visits
from evaluation.forecasts import ForecastScore, forecast_scores
from evaluation.matching import Matching, event_types_of
from evaluation.replay import Life, lives
from evaluation.scores import (
    SIZES,
    Delays,
    NumberErrors,
    Score,
    delays,
    false_alarms,
    number_errors,
    score,
    taken_for,
)
from evaluation.station_run import StationRun, run_station
from iss_simulator.conditions import MEASURED, Conditions
from iss_simulator.truth import TrueEvent
from peebot_dagster.detectors.detector import Detector, Window

Progress = Callable[[str], None]

TOLERANCE = timedelta(seconds=60)
# Bounds the replay of channels that say a lot: readings in a window times looks.
_REPLAYED_READINGS = 6e7

_DITHER = (0.02, 0.06, 0.12, 0.2, 0.3, 0.4)
_LOSSES = (0.1, 1.0, 2.0, 4.0, 8.0)


Replayed = tuple[StationRun, list[Life], float]
"""A run, the lives of its events in its first days, and how many days those are."""


@dataclass(frozen=True)
class Point:
    """The scores under one condition: all truths of the detector's main kind, and those in sight."""

    condition: float
    in_sight: Score
    all: Score


@dataclass(frozen=True)
class StationResult:
    """What `evaluate_on_stations` found; `days` is the simulated time that counts, of all seeds together."""

    seeds: int
    days: float
    tolerance_s: float
    scores: tuple[Score, ...]
    numbers: tuple[NumberErrors, ...]
    forecasts: tuple[ForecastScore, ...]
    taken_for: Counter[tuple[str, str]]
    replayed_days: float
    delays: tuple[tuple[str, Delays], ...]
    false_alarms: Counter[str]
    naive: tuple[tuple[Score, int], ...]
    crowded: tuple[Score, ...]
    crowded_taken_for: Counter[tuple[str, str]]
    over_dither: tuple[Point, ...]
    over_losses: tuple[Point, ...]


def kinds_of(detector: Detector, truth: Sequence[TrueEvent]) -> tuple[str, ...]:
    """The kinds of truth that the detector's events tell of, the most frequent first."""
    counts = Counter(event.kind for event in truth)
    own = [kind for kind in counts if set(event_types_of(kind)) & set(detector.event_types)]
    return tuple(sorted(own, key=lambda kind: (-counts[kind], kind)))


def evaluate_on_stations(
    detector: Detector,
    seeds: int,
    days: float,
    tolerance: timedelta = TOLERANCE,
    progress: Progress = lambda _: None,
    replayed_days: float = 14.0,
    other_conditions: bool = True,
) -> StationResult:
    """Run the detector over `seeds` stations for `days` each, under the measured conditions and others.

    At most `replayed_days` of all of them together are told again in the course of time. Under other
    conditions a quarter of the stations are looked at.
    """
    runs: list[StationRun] = []
    for seed in range(1, seeds + 1):
        progress(f"station {seed} of {seeds}")
        runs.append(run_station(detector, seed, days, MEASURED, tolerance))
    kinds = kinds_of(detector, [event for run in runs for event in run.truth])
    replayed = replay_runs(detector, runs, replayed_days / seeds, progress)
    is_urine = tells_visits(detector)
    crowded: list[StationRun] = []
    if is_urine and other_conditions:
        progress("crowded stations")
        hard = Conditions(crowded=True)
        crowded = [
            run_station(detector, seed, days, hard, tolerance) for seed in range(1, max(1, seeds // 4) + 1)
        ]

    def curve(values: Sequence[float], what: str) -> tuple[Point, ...]:
        fewer = max(1, seeds // 4)
        points = []
        for value in values if kinds else ():
            progress(f"{what} {value:g}")
            points.append(_point(detector, kinds[0], fewer, days, tolerance, what, value))
        return tuple(points)

    return StationResult(
        seeds=seeds,
        days=seeds * days,
        tolerance_s=tolerance.total_seconds(),
        scores=tuple(row for kind in kinds for row in _scores(kind, runs)),
        numbers=number_errors(pair for run in runs for pair in run.matching.pairs),
        forecasts=forecast_scores(detector, runs),
        taken_for=_taken_for(runs, tolerance),
        replayed_days=sum(days for _, _, days in replayed),
        delays=tuple((kind, _delays_of(kind, replayed)) for kind in kinds),
        false_alarms=_alarms(replayed),
        naive=tuple(naive_on_stations(detector, runs)) if is_urine else (),
        crowded=_in_sight(kinds, crowded) if crowded else (),
        crowded_taken_for=_taken_for(crowded, tolerance),
        over_dither=curve(_DITHER, "dither") if is_urine and other_conditions else (),
        over_losses=curve(_LOSSES, "losses") if other_conditions else (),
    )


def only(matching: Matching, kind: str) -> Matching:
    """The part of a matching that concerns one kind of truth."""
    types = event_types_of(kind)
    return Matching(
        tuple(pair for pair in matching.pairs if pair.truth.kind == kind),
        tuple(truth for truth in matching.missed if truth.kind == kind),
        tuple(event for event in matching.false if event.event_type in types),
    )


def _scores(kind: str, runs: Sequence[StationRun]) -> list[Score]:
    matchings = [only(run.matching, kind) for run in runs]
    rows = [
        score(f"{kind}, in sight", matchings, lambda _, masked: not masked),
        score(f"{kind}, partly out of sight", matchings, lambda _, masked: masked),
    ]
    if kind == "visit":
        rows[1:1] = [
            score(
                f"visit of {least} %" if least == most else f"visit of {least}-{most} %",
                matchings,
                lambda amount, masked, least=least, most=most: (  # type: ignore[misc]
                    not masked and amount is not None and least <= amount <= most
                ),
            )
            for least, most in SIZES
        ]
    return rows


def _in_sight(kinds: Sequence[str], runs: Sequence[StationRun]) -> tuple[Score, ...]:
    return tuple(row for kind in kinds for row in _scores(kind, runs) if "out of sight" not in row.name)


def _taken_for(runs: Sequence[StationRun], tolerance: timedelta) -> Counter[tuple[str, str]]:
    counts: Counter[tuple[str, str]] = Counter()
    for run in runs:
        counts += taken_for(run.truth, run.events, tolerance)
    return counts


def replay_runs(
    detector: Detector, runs: Sequence[StationRun], most_days: float, progress: Progress
) -> list[Replayed]:
    """Each run with the lives of its events in its first days, and how many days those are."""
    replayed: list[Replayed] = []
    for run in runs:
        days = min(most_days, _affordable_days(detector, run, len(runs)))
        until = run.since + timedelta(days=days)
        progress(f"replaying {days:.1f} days of station {run.seed}")
        readings = run.window.readings[run.window.readings["ts"] < until + detector.settle]
        window = Window(run.window.start, until + detector.settle, readings, run.window.live, run.window.lost)
        told = [life for life in lives(detector, window, run.since) if _begin(life) < until]
        replayed.append((run, told, days))
    return replayed


def _affordable_days(detector: Detector, run: StationRun, runs: int) -> float:
    """How many days of a run can be replayed, so that all runs together stay within a minute or so."""
    whole = (run.window.end - run.window.start) / timedelta(days=1)
    readings_a_day = len(run.window.readings) / whole
    looks_a_day = (
        timedelta(days=1) / detector.trigger_interval if detector.trigger_interval else readings_a_day * 2
    )
    in_a_look = readings_a_day * ((detector.look_back + detector.settle) / timedelta(days=1)) + 2000
    available = (run.window.end - run.since - detector.settle) / timedelta(days=1)
    return min(available, _REPLAYED_READINGS / runs / (looks_a_day * in_a_look))


def _begin(life: Life) -> datetime:
    return next(event.started_at for _, event in life.tellings if event is not None)


def _delays_of(kind: str, replayed: Sequence[Replayed]) -> Delays:
    """The delays of the truths of a kind that were in sight."""
    total = Delays()
    for run, told, _ in replayed:
        pairs = [
            p for p in run.matching.pairs if p.truth.kind == kind and not getattr(p.truth, "masked", False)
        ]
        total += delays([(pair.truth.onset, pair.event) for pair in pairs], told)
    return total


def _alarms(replayed: Sequence[Replayed]) -> Counter[str]:
    alarms: Counter[str] = Counter()
    for run, told, _ in replayed:
        true = {
            (pair.event.event_id, event_type)
            for pair in run.matching.pairs
            for event_type in event_types_of(pair.truth.kind)
        }
        alarms += false_alarms(told, lambda event, true=true: (event.event_id, event.event_type) in true)  # type: ignore[misc]
    return alarms


def _point(
    detector: Detector, kind: str, seeds: int, days: float, tolerance: timedelta, what: str, value: float
) -> Point:
    """The scores of a kind of truth under one condition."""
    conditions = Conditions(dither_half_width=value) if what == "dither" else Conditions(losses=value)
    runs = [run_station(detector, seed, days, conditions, tolerance) for seed in range(1, seeds + 1)]
    matchings = [only(run.matching, kind) for run in runs]
    return Point(
        value if what == "dither" else sum(_lost_share(run.window) for run in runs) / seeds,
        score("in sight", matchings, lambda _, masked: not masked),
        score("all", matchings, lambda _, masked: True),
    )


def _lost_share(window: Window) -> float:
    live = sum((interval.end - interval.start for interval in window.live or ()), timedelta(0))
    return 1 - live / (window.end - window.start)
