"""Loss and return of the station's signal (LOS and AOS)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from peebot_dagster.detectors.detector import DetectedEvent, Window, event_id
from peebot_dagster.detectors.level_readings import microseconds, moment_of
from peebot_dagster.detectors.signal_losses import LONGEST_LOSS, SECOND, Loss, losses_of

_MARGIN = timedelta(minutes=2)
_LONGEST = timedelta(microseconds=LONGEST_LOSS)


@dataclass(frozen=True)
class SignalDetector:
    """Reports when the station's signal is lost and, after a long loss, when it returns.

    `clock_item` is the station's own clock: it ticks at 1 Hz, and its status class tells AOS (24) from LOS.
    Where the state of the link is known, it decides; the ticks do where it is not, as in a recording. A time
    in which our own daemon or socket was away (DOWN) tells nothing about the station, and is no event.
    """

    clock_item: str = "TIME_000001"

    @property
    def name(self) -> str:
        return "signal"

    @property
    def version(self) -> str:
        return "1"

    @property
    def items(self) -> tuple[str, ...]:
        return (self.clock_item,)

    @property
    def event_types(self) -> tuple[str, ...]:
        return ("signal_loss", "signal_return")

    @property
    def follows_link(self) -> Literal[True]:
        return True

    @property
    def look_back(self) -> timedelta:
        """A return is told after the longest loss that has an end of its own."""
        return _LONGEST + _MARGIN

    @property
    def settle(self) -> timedelta:
        return _LONGEST + _MARGIN

    @property
    def trigger_interval(self) -> timedelta:
        """The clock ticks each second; changes of the link do not wait for this."""
        return timedelta(minutes=1)

    def detect(self, window: Window) -> list[DetectedEvent]:
        """All losses that begin in the window, and all returns after a long loss, sorted by start."""
        events: list[DetectedEvent] = []
        start = microseconds(window.start)
        for loss in losses_of(window, self.clock_item):
            if loss.true_begin and loss.begin >= start:
                events.append(self._loss(loss))
            is_long = loss.is_over and loss.end - loss.begin > LONGEST_LOSS
            if is_long and loss.steady_after and not loss.end_hidden and loss.end >= start:
                events.append(self._return(loss))
        return sorted(events, key=lambda event: event.started_at)

    def _loss(self, loss: Loss) -> DetectedEvent:
        is_long = loss.end - loss.begin > LONGEST_LOSS
        is_over = loss.is_over and not is_long
        hidden = loss.begin_hidden or (loss.end_hidden and is_over)
        reasons = [
            "the status class of the station's clock says so"
            if loss.announced
            else "the station's clock was not heard"
        ]
        if loss.begin_hidden:
            reasons.append("the link was down just before: it may have begun earlier")
        if loss.end_hidden and is_over:
            reasons.append("the link was down just after: it may have lasted longer")
        if is_long:
            reasons.append("it went on: see signal_return")
        return DetectedEvent(
            event_id=event_id(self.name, self.clock_item, moment_of(loss.begin)),
            detector=self.name,
            detector_version=self.version,
            event_type="signal_loss",
            item=self.clock_item,
            started_at=moment_of(loss.begin),
            ended_at=moment_of(loss.end) if is_over else None,
            state="closed" if is_over or is_long else "open",
            confidence=0.5 if hidden else 0.95 if loss.announced else 0.85,
            payload={
                "announced": loss.announced,
                "duration_seconds": _seconds(loss) if is_over else None,
                "longer_than_seconds": LONGEST_LOSS // SECOND if is_long else None,
                "begin_hidden_by_outage": loss.begin_hidden,
                "end_hidden_by_outage": loss.end_hidden and is_over,
                "reasons": reasons,
            },
        )

    def _return(self, loss: Loss) -> DetectedEvent:
        returned_at = moment_of(loss.end)
        return DetectedEvent(
            event_id=event_id(self.name, f"{self.clock_item} return", returned_at),
            detector=self.name,
            detector_version=self.version,
            event_type="signal_return",
            item=self.clock_item,
            started_at=returned_at,
            ended_at=returned_at,
            state="closed",
            confidence=0.95,
            payload={
                "lost_for_longer_than_seconds": LONGEST_LOSS // SECOND,
                "lost_for_seconds": _seconds(loss) if loss.begin_of_record else None,
                "reasons": [f"the station was not heard for more than {LONGEST_LOSS // SECOND // 60} min"],
            },
        )


def _seconds(loss: Loss) -> float:
    return round((loss.end - loss.begin) / SECOND, 3)
