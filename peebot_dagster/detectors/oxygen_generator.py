"""What the oxygen generator (OGA) does: each change of its state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from peebot_dagster.detectors.detector import DetectedEvent, Window, event_id
from peebot_dagster.detectors.held_values import MINUTE, HeldValues, held_states, held_values
from peebot_dagster.detectors.level_readings import microseconds, moment_of
from peebot_dagster.detectors.link_gaps import LinkGaps, Sight
from peebot_dagster.detectors.state_changes import LONGEST_FLICKER, StateChange
from peebot_dagster.detectors.state_spells import (
    HOLD,
    LONGEST_HIDDEN,
    LOOK_BACK,
    SETTLE,
    hidden_since,
    lasting_changes,
)

OGA_STATES: dict[float, str] = {
    1: "process",
    2: "standby",
    3: "shutdown",
    4: "stop",
    5: "venting dome",
    6: "inerting dome",
    7: "fast shutdown",
    8: "nitrogen purge shutdown",
}
# The generator makes up to 9.25 kg of oxygen a day. -59.457 is a fill value of the source; a sensor at rest
# may read a little below zero.
LEAST_RATE, GREATEST_RATE = -0.5, 15.0
# The rate follows the state within minutes, and is noisy: it is averaged over some time before and after.
RATE_BEFORE = 10 * MINUTE
RATE_AFTER_FROM, RATE_AFTER_TO = 5 * MINUTE, 15 * MINUTE


@dataclass(frozen=True)
class OxygenGeneratorDetector:
    """Reports each change of the oxygen generator's state, with the oxygen rate before and after.

    An event is an instant: a state may last for weeks. `state_item` is the signal, `rate_item` (kg of oxygen
    a day) is context and decides nothing.
    """

    state_item: str = "NODE3000010"
    rate_item: str = "NODE3000011"

    @property
    def name(self) -> str:
        return "oxygen_generator"

    @property
    def version(self) -> str:
        return "1"

    @property
    def items(self) -> tuple[str, ...]:
        return (self.state_item, self.rate_item)

    @property
    def state_items(self) -> tuple[str, ...]:
        return (self.state_item,)

    @property
    def event_types(self) -> tuple[str, ...]:
        return ("oxygen_state_change",)

    @property
    def look_back(self) -> timedelta:
        """What a change depends on, and the one before it that bounds the rate before."""
        return LOOK_BACK + timedelta(microseconds=RATE_BEFORE)

    @property
    def settle(self) -> timedelta:
        """Until the rate after the change is known, and a change that bounds it has settled."""
        return timedelta(microseconds=RATE_AFTER_TO) + SETTLE

    @property
    def trigger_interval(self) -> timedelta:
        """The rate is noisy; changes of the state do not wait for this."""
        return timedelta(minutes=1)

    def detect(self, window: Window) -> list[DetectedEvent]:
        """All changes in the window, sorted by time; one is open until the rate after it is known."""
        states = held_states(window, self.state_item, OGA_STATES)
        gaps = LinkGaps(window)
        changes = lasting_changes(states, gaps)
        rates = held_values(window, self.rate_item, LEAST_RATE, GREATEST_RATE)
        watermark, sight = microseconds(window.end), Sight(states, gaps)

        def is_known(change: StateChange) -> bool:
            """Whether no change that is still to settle can bound the rate after this one."""
            begin = change.at + RATE_AFTER_TO
            return watermark > begin and (
                sight.seen(begin, watermark, LONGEST_HIDDEN) >= LONGEST_FLICKER + HOLD
            )

        return [
            self._event(
                changes,
                position,
                hidden_since(change, states),
                rates,
                is_open=change is changes[-1] and not is_known(change),
            )
            for position, change in enumerate(changes)
        ]

    def _event(
        self,
        changes: Sequence[StateChange],
        position: int,
        hidden: int | None,
        rates: HeldValues,
        is_open: bool,
    ) -> DetectedEvent:
        change = changes[position]
        since = changes[position - 1].at if position else change.at - RATE_BEFORE
        rate_before = rates.mean(max(since, change.at - RATE_BEFORE), change.at)
        is_last = position == len(changes) - 1
        rate_after = None
        if not is_open:
            until = change.at + RATE_AFTER_TO
            until = until if is_last else min(until, changes[position + 1].at)
            # A state that is left sooner: what its last minute made.
            rate_after = rates.mean(min(change.at + RATE_AFTER_FROM, until - HOLD), until)
        before, after = OGA_STATES[change.before], OGA_STATES[change.after]
        reasons = [f"it left the state {before} and has been in the state {after} for a minute or more"]
        if hidden is not None:
            reasons.append("out of sight when it changed: the time is an interval")
        return DetectedEvent(
            event_id=event_id(self.name, self.state_item, moment_of(change.at)),
            detector=self.name,
            detector_version=self.version,
            event_type="oxygen_state_change",
            item=self.state_item,
            started_at=moment_of(change.at),
            ended_at=moment_of(change.at),
            state="open" if is_open else "closed",
            confidence=0.95 if hidden is None else 0.6,
            payload={
                "state_before": before,
                "state_after": after,
                "rate_before_kg_per_day": None if rate_before is None else round(rate_before, 2),
                "rate_after_kg_per_day": None if rate_after is None else round(rate_after, 2),
                "masked": hidden is not None,
                "hidden_since": None if hidden is None else moment_of(hidden).isoformat(),
                "reasons": reasons,
            },
        )
