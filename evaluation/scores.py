"""Figures from matched truths and events: precision, recall, errors, delays, alarms that came to nothing."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import quantiles
from typing import Protocol

from evaluation.matching import Labelled, Matching, Pair, event_types_of, share
from evaluation.replay import Life
from peebot_dagster.detectors.detector import DetectedEvent

SURE = 0.8
"""The confidence from which on an event is posted."""

SIZES = ((2, 2), (3, 4), (5, 7), (8, 10))
"""Classes of visits by their amount (%)."""

_AMOUNT = "amount_percent"


class Sized(Labelled, Protocol):
    """A truth that tells how much there was to be seen (% of the tank; 0 where that means nothing), and
    whether the signal was lost meanwhile."""

    @property
    def ended_at(self) -> datetime: ...

    @property
    def steps(self) -> int: ...

    @property
    def masked(self) -> bool: ...

    @property
    def facts(self) -> Mapping[str, float | str]: ...


@dataclass(frozen=True)
class Score:
    """How often a class of truths was found, and how often it was claimed for nothing.

    `amount_errors` are in %.
    """

    name: str
    found: int
    missed: int
    false: int
    onset_errors_s: tuple[float, ...] = ()
    amount_errors: tuple[float, ...] = ()

    @property
    def precision(self) -> float:
        return share(self.found, self.false)

    @property
    def recall(self) -> float:
        return share(self.found, self.missed)

    @property
    def f1(self) -> float:
        return share(2 * self.found, self.false + self.missed)


def score(name: str, matchings: Iterable[Matching], wanted: Callable[[float | None, bool], bool]) -> Score:
    """The score of the truths and events that are wanted by their amount (%) and by whether they were out of
    sight for some of their time."""
    pairs: list[Pair] = []
    missed = false = 0
    for matching in matchings:
        pairs += [pair for pair in matching.pairs if wanted(*_nature_of_truth(pair.truth))]
        missed += sum(wanted(*_nature_of_truth(truth)) for truth in matching.missed)
        false += sum(wanted(*_nature_of_event(event)) for event in matching.false)
    errors = tuple(errors[_AMOUNT] for errors in map(errors_of, pairs) if _AMOUNT in errors)
    return Score(name, len(pairs), missed, false, tuple(pair.onset_error_s for pair in pairs), errors)


@dataclass(frozen=True)
class NumberErrors:
    """By how much a number that is told of a kind of truth was off; its name ends in its unit."""

    kind: str
    number: str
    errors: tuple[float, ...]


def number_errors(pairs: Iterable[Pair]) -> tuple[NumberErrors, ...]:
    """The errors of each number but the amount, by kind of truth."""
    errors: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    for pair in pairs:
        for number, error in errors_of(pair).items():
            if number != _AMOUNT:
                errors[pair.truth.kind, number].append(error)
    return tuple(NumberErrors(kind, number, tuple(errors[kind, number])) for kind, number in sorted(errors))


def errors_of(pair: Pair) -> Mapping[str, float]:
    """By how much each number of the event's payload differs from what is true, where that is known."""
    truth, payload = pair.truth, pair.event.payload
    known: dict[str, float | str] = dict(getattr(truth, "facts", {}))
    if getattr(truth, "steps", 0):
        known[_AMOUNT] = float(truth.steps)  # type: ignore[attr-defined]
    return {
        key: float(payload[key]) - value
        for key, value in known.items()
        if isinstance(value, int | float) and isinstance(payload.get(key), int | float)
    }


def is_masked(event: DetectedEvent) -> bool:
    """Whether the event was out of sight for some of its time."""
    return bool(event.payload.get("masked")) or event.payload.get("hidden_since") is not None


def _nature_of_truth(truth: Labelled) -> tuple[float | None, bool]:
    return getattr(truth, "steps", 0) or None, bool(getattr(truth, "masked", False))


def _nature_of_event(event: DetectedEvent) -> tuple[float | None, bool]:
    return event.payload.get(_AMOUNT), is_masked(event)


def taken_for(
    truth: Sequence[Sized], events: Sequence[DetectedEvent], tolerance: timedelta
) -> Counter[tuple[str, str]]:
    """How often a truth of a kind has an event of a type that does not tell of it, begun in its time."""
    by_start = sorted(events, key=lambda event: event.started_at)
    found: Counter[tuple[str, str]] = Counter()
    place = 0
    for label in sorted(truth, key=lambda label: label.onset):
        while place < len(by_start) and by_start[place].started_at < label.onset - tolerance:
            place += 1
        for event in by_start[place:]:
            if event.started_at > label.ended_at:
                break
            if event.event_type not in event_types_of(label.kind):
                found[label.kind, event.event_type] += 1
    return found


@dataclass(frozen=True)
class Delays:
    """Seconds from an onset until its event was first told, first told as sure, and told as closed."""

    early_s: tuple[float, ...] = ()
    sure_s: tuple[float, ...] = ()
    closed_s: tuple[float, ...] = ()

    def __add__(self, other: Delays) -> Delays:
        return Delays(
            self.early_s + other.early_s, self.sure_s + other.sure_s, self.closed_s + other.closed_s
        )


def delays(onsets: Iterable[tuple[datetime, DetectedEvent]], lives: Iterable[Life]) -> Delays:
    """The delays of those events that were never out of sight, each with its onset (UTC)."""
    by_id = {event.event_id: life for life in lives for _, event in life.tellings if event is not None}
    early: list[float] = []
    sure: list[float] = []
    closed: list[float] = []
    for onset, event in onsets:
        life = by_id.get(event.event_id)
        if life is None or is_masked(event):
            continue
        own = Life(tuple((at, e) for at, e in life.tellings if e and e.event_type == event.event_type))
        for seconds, moment in (
            (early, own.first(lambda _: True)),
            (sure, own.first(lambda e: e.confidence >= SURE)),
            (closed, own.first(lambda e: e.state == "closed")),
        ):
            if moment is not None:
                seconds.append((moment - onset).total_seconds())
    return Delays(tuple(early), tuple(sure), tuple(closed))


def false_alarms(lives: Iterable[Life], is_true: Callable[[DetectedEvent], bool]) -> Counter[str]:
    """By event type: how many lives were told as sure with this type and turned out to be something else."""
    alarms: Counter[str] = Counter()
    for life in lives:
        claimed = {
            event.event_type: event
            for _, event in life.tellings
            if event is not None and event.confidence >= SURE
        }
        alarms.update(event_type for event_type, event in claimed.items() if not is_true(event))
    return alarms


def percentile(values: Sequence[float], percent: int) -> float | None:
    """The percentile of the values (1 to 99), None where there is none."""
    if len(values) < 2:
        return values[0] if values else None
    return quantiles(values, n=100, method="inclusive")[percent - 1]
