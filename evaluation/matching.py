"""Which event tells of which truth, one to one, and how often that goes wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Protocol

from peebot_dagster.detectors.detector import DetectedEvent

EVENT_TYPES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "visit": ("toilet_visit", "toilet_visit_masked"),
        "toilet_visit": ("toilet_visit", "toilet_visit_masked"),
        "toilet_visit_masked": ("toilet_visit", "toilet_visit_masked"),
        "dribble": ("dribble",),
        "transfer": ("tank_transfer",),
        "reset": ("sensor_reset",),
        "los": ("signal_loss",),
        "drain": ("upa_processing_cycle",),
    }
)
"""The event types that tell of a kind of truth; any other kind is told of by the event type of its name."""


class Labelled(Protocol):
    """Something that is known to have happened: a `TrueEvent` of the simulator, or a label.

    `onset` (UTC) is the first moment at which it could be seen.
    """

    @property
    def kind(self) -> str: ...

    @property
    def onset(self) -> datetime: ...


@dataclass(frozen=True)
class Pair:
    """A truth and the event that tells of it."""

    truth: Labelled
    event: DetectedEvent

    @property
    def onset_error_s(self) -> float:
        """By how many seconds the event begins after the truth could first be seen; negative: before."""
        return (self.event.started_at - self.truth.onset).total_seconds()


@dataclass(frozen=True)
class Matching:
    """Pairs in order of the truth's onset, truths that no event tells of, events that nothing is behind."""

    pairs: tuple[Pair, ...]
    missed: tuple[Labelled, ...]
    false: tuple[DetectedEvent, ...]

    @property
    def precision(self) -> float:
        """The share of the events that are true; 1 where there is none."""
        return share(len(self.pairs), len(self.false))

    @property
    def recall(self) -> float:
        """The share of the truths that were found; 1 where there is none."""
        return share(len(self.pairs), len(self.missed))

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall."""
        return share(2 * len(self.pairs), len(self.false) + len(self.missed))

    def within(self, since: datetime, until: datetime) -> Matching:
        """The part with truths, and false events, that begin in [since, until) (UTC)."""
        return Matching(
            tuple(pair for pair in self.pairs if since <= pair.truth.onset < until),
            tuple(truth for truth in self.missed if since <= truth.onset < until),
            tuple(event for event in self.false if since <= event.started_at < until),
        )

    @property
    def onset_errors_s(self) -> tuple[float, ...]:
        """Seconds from each found truth's onset to the begin of its event."""
        return tuple(pair.onset_error_s for pair in self.pairs)


def event_types_of(kind: str) -> tuple[str, ...]:
    """The event types that tell of a kind of truth."""
    return EVENT_TYPES.get(kind, (kind,))


def folded_kind(kind: str) -> str:
    """One name for all kinds that the same event types tell of."""
    return next((name for name, types in EVENT_TYPES.items() if types == event_types_of(kind)), kind)


def match(truth: Sequence[Labelled], events: Sequence[DetectedEvent], tolerance: timedelta) -> Matching:
    """Pair truths and events one to one, the closest first.

    An event may tell of a truth if its type fits, and if it begins within `tolerance` of the truth's onset.
    An event that was out of sight when it began (`hidden_since` in its payload, ISO 8601) may have begun at
    any time since. Retracted events do not count.
    """
    events = [event for event in events if event.state != "retracted"]
    by_start = sorted(range(len(events)), key=lambda index: _earliest(events[index]))
    fits: list[tuple[timedelta, int, int]] = []
    for place, label in enumerate(truth):
        types = event_types_of(label.kind)
        for index in by_start:
            event = events[index]
            if _earliest(event) - tolerance > label.onset:
                break
            if event.event_type in types and label.onset <= event.started_at + tolerance:
                fits.append((abs(event.started_at - label.onset), place, index))
    teller: dict[int, int] = {}
    telling: set[int] = set()
    for _, place, index in sorted(fits):
        if place not in teller and index not in telling:
            teller[place] = index
            telling.add(index)
    return Matching(
        pairs=tuple(
            sorted(
                (Pair(truth[place], events[index]) for place, index in teller.items()),
                key=lambda pair: pair.truth.onset,
            )
        ),
        missed=tuple(label for place, label in enumerate(truth) if place not in teller),
        false=tuple(event for index, event in enumerate(events) if index not in telling),
    )


def _earliest(event: DetectedEvent) -> datetime:
    hidden_since = event.payload.get("hidden_since")
    if hidden_since is None:
        return event.started_at
    return min(event.started_at, datetime.fromisoformat(hidden_since))


def share(right: int, wrong: int) -> float:
    """The share that is right; 1 where there is nothing."""
    return right / (right + wrong) if right + wrong else 1.0
