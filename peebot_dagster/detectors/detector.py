"""What a detector is: a pure function from a window of telemetry to events. No Dagster, no SQL, no clock."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    # Each run imports the detectors' definitions; half a second of pandas is for those that detect.
    import pandas as pd

EventState = Literal["open", "closed", "retracted"]

_EVENT_NAMESPACE = uuid.UUID("6f0e2a5c-7b39-5d0e-9a55-0c1e4f5b7d11")


@dataclass(frozen=True)
class LiveInterval:
    """A stretch of event time (UTC, end exclusive) in which the link was LIVE."""

    start: datetime
    end: datetime


@dataclass(frozen=True)
class LostInterval:
    """A stretch of event time (UTC, end exclusive) of LOS: the server was reached, the station not heard."""

    start: datetime
    end: datetime


@dataclass(frozen=True)
class Window:
    """The telemetry that a detector may look at.

    `readings` has the columns `ts` (datetime64, UTC), `item` (str), `value` (float) and `status_class`
    (Int64), sorted by ts: everything in [start, end), and before it the last reading of each item. A column
    `is_snapshot` (bool) tells which of them came as the first state after a (re)connection, so that others
    may have been missed before it; where it is missing, none did. `end` is the watermark: the event time up
    to which the telemetry is known. `live` are the LIVE intervals in [start, end), sorted and disjoint; None
    means that nothing is known about the link and that it counts as live throughout. `lost` are the LOS
    intervals, sorted and disjoint: each with its true start, even where this lies before `start`. What is
    neither live nor lost is not known: the daemon was away (DOWN). None: LOS cannot be told from DOWN.
    """

    start: datetime
    end: datetime
    readings: pd.DataFrame
    live: tuple[LiveInterval, ...] | None = None
    lost: tuple[LostInterval, ...] | None = None


@dataclass(frozen=True)
class DetectedEvent:
    """Something that happened. Times are UTC; `confidence` is 0 to 1; payload keys carry their units."""

    event_id: uuid.UUID
    detector: str
    detector_version: str
    event_type: str
    item: str
    started_at: datetime
    ended_at: datetime | None
    state: EventState
    confidence: float
    payload: Mapping[str, Any] = field(default_factory=dict)


def event_id(detector: str, item: str, first_evidence: datetime) -> uuid.UUID:
    """The identity of an event: the same evidence gives the same id in any window, order or re-run."""
    stamp = first_evidence.astimezone(UTC).isoformat(timespec="microseconds")
    return uuid.uuid5(_EVENT_NAMESPACE, f"{detector}|{item}|{stamp}")


@runtime_checkable
class FollowsLink(Protocol):
    """A detector to which the link tells all that good readings would: where the link is known, only readings
    with another status class than 24 are loaded."""

    @property
    def follows_link(self) -> bool: ...


@runtime_checkable
class HasStates(Protocol):
    """A detector with a trigger interval of which some items are states: they change rarely, and what a
    change means is looked for at once, and soon again, however chatty the other items are."""

    @property
    def state_items(self) -> tuple[str, ...]: ...


class Detector(Protocol):
    """A named, versioned, pure function from a window to events."""

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str: ...

    @property
    def items(self) -> tuple[str, ...]:
        """The Lightstreamer items whose readings `detect` needs."""
        ...

    @property
    def event_types(self) -> tuple[str, ...]: ...

    @property
    def look_back(self) -> timedelta:
        """How much telemetry before a span is needed to find each event that starts in the span."""
        ...

    @property
    def settle(self) -> timedelta:
        """How much telemetry after a span is needed to see each event that starts in the span to its end."""
        ...

    @property
    def trigger_interval(self) -> timedelta:
        """The live detection looks at most this often; zero: as soon as a reading of an item is stored.

        Changes of what `HasStates` and `FollowsLink` name do not wait for it.
        """
        ...

    def detect(self, window: Window) -> list[DetectedEvent]:
        """All events whose evidence lies in the window, sorted by start."""
        ...


def follows_link(detector: Detector) -> bool:
    """Whether the link tells this detector all that good readings would."""
    return isinstance(detector, FollowsLink) and detector.follows_link


def state_items(detector: Detector) -> tuple[str, ...]:
    """Those of the detector's items whose changes are looked at at once."""
    return detector.state_items if isinstance(detector, HasStates) else ()
