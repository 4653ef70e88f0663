"""Toilet visits, and what else makes the urine tank's level rise."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from datetime import timedelta

from peebot_dagster.detectors.bouts import Bout, join
from peebot_dagster.detectors.classification import RESET_JUMP_PERCENT, Verdict, classify, reset_downwards
from peebot_dagster.detectors.detector import DetectedEvent, Window, event_id
from peebot_dagster.detectors.level_readings import ItemReadings, item_readings, microseconds, moment_of
from peebot_dagster.detectors.level_steps import level_steps
from peebot_dagster.detectors.plunges import Plunge, plunges

MILLILITRES_PER_PERCENT = 82.0
UPA_STATE_NORMAL = 16.0
# A fall by this much (%) within 15 min shows a drain to whom the state of the processor is unknown.
DRAINED_PERCENT = 2.0
# What a person may have done: as which of them a rise is told, more of it may change.
PERSONS = ("toilet_visit", "toilet_visit_masked", "dribble")


@dataclass(frozen=True)
class UrineTankDetector:
    """Watches the level of the urine tank (%, whole numbers) and explains each rise of it; a fall is a drain,
    or the sensor was reset.

    `level_item` is the signal. `state_item`, the state of the Urine Processor Assembly (UPA), is context: it
    decides no type, but while the processor drains the tank, a visit is sure only once it is over.

    A rise keeps its event while it may be a person's. One that turns out to be a pump's or the sensor's is
    another event: the visit that it was taken for is found no longer, and so retracted.
    """

    level_item: str = "NODE3000005"
    state_item: str = "NODE3000004"

    @property
    def name(self) -> str:
        return "urine_tank"

    @property
    def version(self) -> str:
        return "3"

    @property
    def items(self) -> tuple[str, ...]:
        return (self.level_item, self.state_item)

    @property
    def event_types(self) -> tuple[str, ...]:
        return ("toilet_visit", "toilet_visit_masked", "dribble", "tank_transfer", "sensor_reset")

    @property
    def look_back(self) -> timedelta:
        """Twice the 12 h that a step depends on, so that the bout before the span is whole, too."""
        return timedelta(hours=24)

    @property
    def settle(self) -> timedelta:
        """The longest bout (15 min), the pause that closes it (2 min), and some margin."""
        return timedelta(minutes=20)

    @property
    def trigger_interval(self) -> timedelta:
        """None: people wait for the joke."""
        return timedelta(0)

    def detect(self, window: Window) -> list[DetectedEvent]:
        """All rises of the level in the window, and falls that are no liquid, sorted by start; the last one
        may be open."""
        steps = level_steps(window, item_readings(window, self.level_item, least=0.0, greatest=100.0))
        states = item_readings(window, self.state_item, least=0.0, greatest=float("inf"))
        watermark = microseconds(window.end)
        events: list[DetectedEvent] = []
        for bout in join(steps):
            processing = _processing(states, bout.first.at)
            draining = bout.drained_before >= DRAINED_PERCENT if processing is None else processing
            verdict = classify(bout, watermark, draining)
            if verdict is not None:
                events.append(self._event(bout, verdict, processing))
        for plunge in plunges(steps, RESET_JUMP_PERCENT, watermark):
            events.append(self._event(plunge, reset_downwards(plunge), _processing(states, plunge.first.at)))
        return sorted(events, key=lambda event: event.started_at)

    def _event(self, moved: Bout | Plunge, verdict: Verdict, processing: bool | None) -> DetectedEvent:
        started_at = moment_of(moved.first.at)
        hidden = [step for step in moved.steps if step.hidden]
        evidence = self.level_item if verdict.event_type in PERSONS else f"{self.level_item}, no person's"
        return DetectedEvent(
            event_id=event_id(self.name, evidence, started_at),
            detector=self.name,
            detector_version=self.version,
            event_type=verdict.event_type,
            item=self.level_item,
            started_at=started_at,
            ended_at=moment_of(moved.last.at),
            state="open" if verdict.open else "closed",
            confidence=verdict.confidence,
            payload={
                "amount_percent": moved.amount,
                "amount_ml": round(moved.amount * MILLILITRES_PER_PERCENT),
                "steps": len(moved.steps),
                "cadence_seconds_per_percent": None if moved.cadence is None else round(moved.cadence, 3),
                "level_before_percent": moved.level_before,
                "level_after_percent": moved.level_after,
                "upa_processing": processing,
                "masked": verdict.masked,
                "hidden_since": moment_of(hidden[0].not_before).isoformat() if hidden else None,
                "reasons": list(verdict.reasons),
            },
        )


def _processing(states: ItemReadings, at: int) -> bool | None:
    """Whether the UPA was processing, by its last reading up to `at`; None when it has told nothing yet."""
    position = bisect_right(states.at, at) - 1
    return None if position < 0 else bool(states.value[position] == UPA_STATE_NORMAL)
