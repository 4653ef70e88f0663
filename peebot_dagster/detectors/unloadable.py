"""What stands in for a detector in service whose module does not load."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from peebot_dagster.detectors.detector import DetectedEvent, Window


@dataclass(frozen=True)
class UnloadableDetector:
    """Does not load: its events stay as they are, and its check says why."""

    name: str
    reason: str
    version: str = "unknown"
    items: tuple[str, ...] = ()
    event_types: tuple[str, ...] = ()
    look_back: timedelta = timedelta(0)
    settle: timedelta = timedelta(0)
    trigger_interval: timedelta = timedelta(minutes=1)

    def detect(self, window: Window) -> list[DetectedEvent]:
        """ImportError with the reason: to find nothing would retract what was found."""
        raise ImportError(self.reason)
