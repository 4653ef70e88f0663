"""What a rise of the urine tank's level is: a person, a pump, a sensor, or too little to say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from peebot_dagster.detectors.backlash import Backlash
from peebot_dagster.detectors.bouts import LONGEST_PAUSE, Bout
from peebot_dagster.detectors.level_steps import SECOND
from peebot_dagster.detectors.plunges import Plunge

EventType = Literal["toilet_visit", "toilet_visit_masked", "dribble", "tank_transfer", "sensor_reset"]

RESET_JUMP_PERCENT = 20.0
SURE_TRANSFER_PERCENT = 11.0
FAST_TRANSFER_PERCENT = 8.0
VISIT_PERCENT = 2.0
# Seconds per 1 %: a pump takes 3 to 4, a person 6.
PUMP_CADENCE = 4.5
# A rise with fewer pauses at a person's pace than this is fed by something else: a trickle from another tank.
# On the real tank such rises speed up or slow down from step to step, and come on days with transfers.
TRICKLE_SHARE = 1 / 3
TRICKLE_PAUSES = 3
# Below this share of pauses at a person's pace only the end of the rise tells what it was.
STEADY_SHARE = 1 / 2
PLATEAU = 30 * SECOND
# More than this in one reading, on a live link, means that readings are missing.
COHERENT_STEP_PERCENT = 2.0


@dataclass(frozen=True)
class Verdict:
    """A type with its confidence (0 to 1) and the reasons for both, and whether the rise may still grow."""

    event_type: EventType
    confidence: float
    reasons: tuple[str, ...]
    open: bool
    masked: bool


def classify(bout: Bout, watermark: int, draining: bool) -> Verdict | None:
    """Judge a rise by what is known up to the watermark (microseconds since 1970 UTC); None for one that is
    noise.

    `draining`: the tank was being emptied when it began. Most transfers are made then, so that a rise may
    well be a pump's, and one may follow a visit before the visit is over.
    """
    silence = watermark - bout.last.at
    is_open = silence <= LONGEST_PAUSE and not bout.parted
    masked = _masked(bout)
    event_type, confidence, reasons = _type_of(bout, masked)
    if event_type == "dribble" and bout.fall_within_pause > 0:
        return None
    if event_type == "toilet_visit":
        if is_open:
            doubt = _doubt(bout, silence, draining)
            confidence = min(confidence, 0.6 if doubt else 0.85)
            # Not the exact silence: an event must not change while nothing happens.
            reasons += (doubt or f"plateau of at least {PLATEAU // SECOND} s",)
    elif is_open:
        confidence = min(confidence, 0.3 if event_type in ("dribble", "toilet_visit_masked") else 0.6)
        reasons += ("may still grow",)
    return Verdict(event_type, confidence, reasons, is_open, masked)


def reset_downwards(plunge: Plunge) -> Verdict:
    """The verdict on a fall that is no liquid."""
    facts = f"{plunge.amount:g} % in {len(plunge.steps)} step{'s' if len(plunge.steps) > 1 else ''}"
    return Verdict("sensor_reset", 0.9, (facts, "no drain is that fast"), open=False, masked=False)


def _doubt(bout: Bout, silence: int, draining: bool) -> str | None:
    """Why an open rise may yet turn out to be no visit, or None."""
    if silence < PLATEAU:
        return "still rising"
    if draining:
        return "the tank is being drained: a pump may go on"
    if bout.share_at_a_persons_pace < STEADY_SHARE:
        return "not at a person's pace: it may be the begin of a trickle"
    return None


def _masked(bout: Bout) -> bool:
    """Whether the time of the rise is unknown: it began out of sight, and what was seen of it is no visit by
    itself."""
    return bout.first.hidden and bout.amount - bout.first.size < VISIT_PERCENT


def _type_of(bout: Bout, masked: bool) -> tuple[EventType, float, tuple[str, ...]]:
    amount, cadence = bout.amount, bout.cadence
    rise = f"{amount:g} % in {len(bout.steps)} step{'s' if len(bout.steps) > 1 else ''}"
    pace = "" if cadence is None else f", {cadence:.1f} s per 1 %"
    facts = rise + pace

    reset = _reset_reason(bout)
    if reset is not None:
        return "sensor_reset", 0.9, (facts, reset)
    if masked:
        hidden = (facts, "out of sight when it rose: the time is an interval")
        return ("tank_transfer" if amount >= SURE_TRANSFER_PERCENT else "toilet_visit_masked"), 0.4, hidden
    if amount >= SURE_TRANSFER_PERCENT:
        at_pump_speed = cadence is not None and cadence <= PUMP_CADENCE
        return "tank_transfer", 0.95 if at_pump_speed else 0.8, (facts, "more than a person gives")
    if amount >= FAST_TRANSFER_PERCENT and cadence is not None and cadence <= PUMP_CADENCE:
        return "tank_transfer", 0.9, (facts, "as fast as a pump")
    if amount < VISIT_PERCENT:
        return "dribble", 0.5, (facts, "too little to tell a person from drift")
    if len(bout.steps) > 2 and cadence is not None and cadence < PUMP_CADENCE:
        return "tank_transfer", 0.5, (facts, "faster than a person, less than a usual transfer")
    if len(bout.paces) >= TRICKLE_PAUSES and bout.share_at_a_persons_pace < TRICKLE_SHARE:
        return "tank_transfer", 0.5, (facts, "slower than a person from step to step: a trickle")
    return _visit(bout, facts)


def _reset_reason(bout: Bout) -> str | None:
    """Why the rise can be no liquid, or None."""
    if bout.greatest_jump >= RESET_JUMP_PERCENT:
        return f"{bout.greatest_jump:g} % within 15 s is no liquid"
    if bout.first.jumped_from == 0.0:
        return "it rose from 0, which the tank never reaches"
    if bout.fall_before >= VISIT_PERCENT:
        return f"it fell by {bout.fall_before:g} % just before: no drain is that fast"
    # The backlash swallows the first percent of the way back.
    if bout.amount >= VISIT_PERCENT and bout.fall_after >= bout.amount - Backlash.width:
        return "it fell back at once: no drain is that fast"
    return None


def _visit(bout: Bout, facts: str) -> tuple[EventType, float, tuple[str, ...]]:
    if any(step.hidden for step in bout.steps):
        return "toilet_visit", 0.7, (facts, "a part of the rise was out of sight")
    if any(step.size > COHERENT_STEP_PERCENT for step in bout.steps):
        return "toilet_visit", 0.7, (facts, "a step is too great for one reading")
    if bout.share_at_a_persons_pace < STEADY_SHARE:
        return "toilet_visit", 0.85, (facts, "as much as a person gives, with pauses")
    return "toilet_visit", 0.95, (facts, "as much as a person gives, as slowly")
