"""One simulated station, and what a detector made of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from evaluation.matching import Matching, event_types_of, match
from evaluation.simulated import simulated_window
from iss_simulator.conditions import Conditions
from iss_simulator.truth import TrueEvent
from peebot_dagster.detectors.detector import DetectedEvent, Detector, Window

SINCE = datetime(2025, 12, 20, tzinfo=UTC)
"""The simulated time includes a turn of the year."""

FORECAST = "_forecast"
"""An event type ends so when it tells beforehand of a truth, of the kind that its name begins with."""


@dataclass(frozen=True)
class StationRun:
    """One station, and what the detector made of it in the time that counts: [since, until) (UTC).

    `known` and `claimed` are the truths and the events of the whole window; `to_come` are truths of which
    the detector tells beforehand.
    """

    seed: int
    since: datetime
    until: datetime
    window: Window
    known: tuple[TrueEvent, ...]
    claimed: tuple[DetectedEvent, ...]
    matching: Matching
    to_come: tuple[TrueEvent, ...] = ()

    @property
    def truth(self) -> tuple[TrueEvent, ...]:
        """The truths that count."""
        return tuple(event for event in self.known if self.since <= event.onset < self.until)

    @property
    def events(self) -> tuple[DetectedEvent, ...]:
        """The events that count."""
        return tuple(event for event in self.claimed if self.since <= event.started_at < self.until)


def run_station(
    detector: Detector, seed: int, days: float, conditions: Conditions, tolerance: timedelta
) -> StationRun:
    """The detector on one station for some days that count, after as much time as it looks back."""
    since = SINCE + detector.look_back
    margin = detector.settle + tolerance
    total = (detector.look_back + timedelta(days=days) + margin) / timedelta(days=1)
    window, told = simulated_window(detector.items, seed, SINCE, total, conditions)
    until = window.end - margin
    types = set(detector.event_types)
    truth = [event for event in told if set(event_types_of(event.kind)) & types]
    events = detector.detect(window)
    whole = match(truth, events, tolerance).within(since, until)
    to_come = tuple(event for event in told if event.kind + FORECAST in types)
    return StationRun(seed, since, until, window, tuple(truth), tuple(events), whole, to_come)
