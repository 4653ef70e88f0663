"""Processing cycles of the Urine Processor Assembly (UPA): what it distils out of the urine tank."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from peebot_dagster.detectors.detector import DetectedEvent, Window, event_id
from peebot_dagster.detectors.drained_amount import DrainedAmount, drained_amount, steps_between
from peebot_dagster.detectors.held_values import HOUR, SECOND, HeldValues, held_states, held_values
from peebot_dagster.detectors.level_readings import microseconds, moment_of
from peebot_dagster.detectors.link_gaps import LinkGaps
from peebot_dagster.detectors.state_spells import (
    LOOK_BACK,
    SETTLE,
    Spell,
    hidden_since,
    lasting_changes,
    spells,
)
from peebot_dagster.detectors.urine_tank import MILLILITRES_PER_PERCENT

UPA_STATES: dict[float, str] = {
    2: "stop",
    4: "shutdown",
    8: "maintenance",
    16: "normal",
    32: "standby",
    64: "idle",
    128: "system initialised",
}
NORMAL = 16
# 75 % at the 10.8 % an hour that were measured take 7 h; visits in between make it 11 h, on a busy day more.
LONGEST_CYCLE = 18 * HOUR
# The processor is done once it has emptied the tank down to about 5 %.
EMPTIED_PERCENT = 8.0


@dataclass(frozen=True)
class UpaCycleDetector:
    """Reports each processing cycle of the urine processor: when, how much, how fast, and how it ended.

    `state_item` tells when the processor distils (state 16, NORMAL); `level_item`, the level of the tank that
    it empties (%, whole numbers), tells how much.
    """

    level_item: str = "NODE3000005"
    state_item: str = "NODE3000004"

    @property
    def name(self) -> str:
        return "upa_cycle"

    @property
    def version(self) -> str:
        return "1"

    @property
    def items(self) -> tuple[str, ...]:
        return (self.state_item, self.level_item)

    @property
    def state_items(self) -> tuple[str, ...]:
        return (self.state_item,)

    @property
    def event_types(self) -> tuple[str, ...]:
        return ("upa_processing_cycle",)

    @property
    def look_back(self) -> timedelta:
        """What a settled change of the state depends on; the level counts from the begin of the cycle."""
        return LOOK_BACK

    @property
    def settle(self) -> timedelta:
        """The longest cycle, and the time in which its last state settles."""
        return timedelta(microseconds=LONGEST_CYCLE) + SETTLE

    @property
    def trigger_interval(self) -> timedelta:
        """The level comes with each of its wavers; changes of the state do not wait for this."""
        return timedelta(minutes=1)

    def detect(self, window: Window) -> list[DetectedEvent]:
        """All cycles that begin in the window, sorted by start; the last one may be open."""
        watermark = microseconds(window.end)
        states = held_states(window, self.state_item, UPA_STATES)
        changes = lasting_changes(states, LinkGaps(window))
        levels = held_values(window, self.level_item, least=0.0, greatest=100.0)
        cycles = spells(changes, NORMAL, LONGEST_CYCLE, watermark)
        return [self._event(cycle, watermark, states, levels) for cycle in cycles]

    def _event(self, spell: Spell, watermark: int, states: HeldValues, levels: HeldValues) -> DetectedEvent:
        start, is_open = spell.begin.at, spell.end is None and not spell.cut
        last = spell.end.at if spell.end else min(watermark, start + LONGEST_CYCLE)
        steps = steps_between(levels, start, last)
        # While it lasts, what is told changes with the steps of the level and not with each look.
        until = (steps[-1].at if steps else start) if is_open else last
        drained = drained_amount(steps, start, until)
        level_after = levels.holding(until)
        begin_hidden = hidden_since(spell.begin, states)
        end_hidden = None if spell.end is None else hidden_since(spell.end, states)
        confidence, reasons = _judged(spell, drained, level_after)
        return DetectedEvent(
            event_id=event_id(self.name, self.state_item, moment_of(start)),
            detector=self.name,
            detector_version=self.version,
            event_type="upa_processing_cycle",
            item=self.state_item,
            started_at=moment_of(start),
            ended_at=None if is_open else moment_of(last),
            state="open" if is_open else "closed",
            confidence=confidence,
            payload={
                "amount_percent": None if drained.amount is None else round(drained.amount, 1),
                "amount_ml": None
                if drained.amount is None
                else round(drained.amount * MILLILITRES_PER_PERCENT, -1),
                "rate_percent_per_hour": None if drained.rate is None else round(drained.rate, 2),
                "rises_percent": drained.rises,
                "other_falls_percent": drained.other_falls,
                "level_before_percent": levels.holding(start),
                "level_after_percent": level_after,
                "duration_seconds": None if is_open else (last - start) / SECOND,
                "state_before": UPA_STATES[spell.begin.before],
                "state_after": None if spell.end is None else UPA_STATES[spell.end.after],
                "masked": begin_hidden is not None,
                "hidden_since": _iso(begin_hidden),
                "end_hidden_since": _iso(end_hidden),
                "reasons": reasons,
            },
        )


def _judged(spell: Spell, drained: DrainedAmount, level_after: float | None) -> tuple[float, list[str]]:
    """How sure it is that the processor worked so, and why."""
    confidence, reasons = 0.95, ["the processor said that it distils"]
    if spell.begin.hiding is not None:
        confidence = min(confidence, 0.7)
        reasons.append("it began out of sight: its start is an interval")
    if drained.rate is None:
        confidence = min(confidence, 0.7)
        reasons.append("the level has fallen too little to confirm it")
    else:
        reasons.append(f"the level fell by {drained.rate:.1f} % an hour")
    if spell.cut:
        confidence = min(confidence, 0.5)
        reasons.append(f"its end was not seen within {LONGEST_CYCLE // HOUR} h")
    elif spell.end is not None:
        if spell.end.hiding is not None:
            confidence = min(confidence, 0.7)
            reasons.append("it ended out of sight: its end is an interval")
        if level_after is not None:
            emptied = level_after <= EMPTIED_PERCENT
            reasons.append("the tank was empty" if emptied else f"{level_after:g} % were left")
    return confidence, reasons


def _iso(at: int | None) -> str | None:
    return None if at is None else moment_of(at).isoformat()
