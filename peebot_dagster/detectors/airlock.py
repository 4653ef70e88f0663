"""Spacewalks: the crew lock loses its air, stays empty for hours, and is filled again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from peebot_dagster.detectors.airlock_pressure import CABIN, VACUUM, Fall, falls, onset
from peebot_dagster.detectors.detector import DetectedEvent, EventState, Window, event_id
from peebot_dagster.detectors.held_values import HOUR, MINUTE, SECOND, HeldValues, held_values
from peebot_dagster.detectors.level_readings import moment_of
from peebot_dagster.detectors.link_gaps import Hiding, LinkGaps

# The longest spacewalk from the station took 8 h 56 min.
LONGEST_SPACEWALK = 10 * HOUR
SHORTEST_SPACEWALK = 30 * MINUTE
LONGEST_DEPRESSURISATION = 3 * HOUR
# Pump, suits and the station's mode are prepared within this time before the lock is empty.
PREPARATION = 2 * HOUR

# How sure a fall is to go on to vacuum, once it is below a pressure (mmHg). At 527 (10.2 psi) the crew puts
# the suits on, or used to spend the night before; at 259 (5 psi) there is a leak check, which may fail.
_EXPECTATIONS = (
    (240.0, 0.85, "below the pressure of the leak check"),
    (500.0, 0.6, "below the pressure of a stay at 527 mmHg"),
    (CABIN.enter, 0.3, "below the pressure of the cabin"),
)
_TOO_FAST = "filled faster than air flows: the end is that of the readings"
_OUT_OF_SIGHT = "out of sight when it fell: the time is an interval"
_SUIT_POWER_V = 10.0
_MODE_WORK_OUTSIDE = 16.0


@dataclass(frozen=True)
class AirlockDetector:
    """Watches the pressure of the crew lock (mmHg) and reports depressurisations and spacewalks.

    The other items are context: the pressure of the equipment lock (mmHg), power and switch of the pump, the
    voltages (V) of the suits' supplies and the station's mode. They change the confidence, and nothing else.
    """

    item: str = "AIRLOCK000049"
    equipment_lock_item: str = "AIRLOCK000054"
    pump_items: tuple[str, ...] = ("AIRLOCK000047", "AIRLOCK000048")
    suit_items: tuple[str, ...] = ("AIRLOCK000001", "AIRLOCK000003")
    mode_item: str = "USLAB000086"

    @property
    def name(self) -> str:
        return "airlock"

    @property
    def version(self) -> str:
        return "1"

    @property
    def items(self) -> tuple[str, ...]:
        return (self.item, self.equipment_lock_item, *self.pump_items, *self.suit_items, self.mode_item)

    @property
    def event_types(self) -> tuple[str, ...]:
        return ("airlock_depressurisation", "airlock_partial_depressurisation", "spacewalk")

    @property
    def look_back(self) -> timedelta:
        """The preparations before a vacuum, and some margin; a fall needs 90 min."""
        return timedelta(hours=2, minutes=30)

    @property
    def settle(self) -> timedelta:
        """The longest spacewalk, and the two hours after which a lock that is not quite full, or of which
        nothing can be trusted, counts as full."""
        return timedelta(hours=12, minutes=15)

    @property
    def trigger_interval(self) -> timedelta:
        """A fall takes half an hour, and the pressures come at 1 Hz."""
        return timedelta(seconds=60)

    def detect(self, window: Window) -> list[DetectedEvent]:
        """All depressurisations and spacewalks that begin in the window, sorted by start."""
        pressure = held_values(window, self.item, least=-20.0, greatest=900.0)
        gaps = LinkGaps(window)
        vacua = falls(pressure, VACUUM, LONGEST_SPACEWALK, gaps)
        context = _Context(
            equipment_lock=held_values(window, self.equipment_lock_item, -20.0, 900.0),
            pumps=tuple(held_values(window, item, 0.0, 3.0) for item in self.pump_items),
            suits=tuple(held_values(window, item, -5.0, 100.0) for item in self.suit_items),
            mode=held_values(window, self.mode_item, 0.0, 127.0),
        )
        events = [
            self._depressurisation(fall, vacua, pressure, gaps, context)
            for fall in falls(pressure, CABIN, LONGEST_DEPRESSURISATION, gaps)
        ]
        events += [self._spacewalk(vacuum, pressure.end, context) for vacuum in vacua]
        return sorted(events, key=lambda event: (event.started_at, event.event_type))

    def _depressurisation(
        self, fall: Fall, vacua: Sequence[Fall], pressure: HeldValues, gaps: LinkGaps, context: _Context
    ) -> DetectedEvent:
        first = onset(pressure, fall, CABIN)
        started_at = int(pressure.at[first])
        latest = fall.passed + LONGEST_DEPRESSURISATION
        until = fall.last_below if fall.is_over else latest
        vacuum = next((v for v in vacua if fall.passed <= v.passed <= until), None)
        ended_at: int | None = None
        state: EventState = "closed"
        event_type = "airlock_partial_depressurisation"
        if vacuum is not None:
            event_type, ended_at = "airlock_depressurisation", vacuum.passed
            confidence, reasons = 0.95, ["down to vacuum"]
        elif fall.is_over:
            ended_at = fall.last_below
            confidence, reasons = 0.9, ["filled again before it was empty"]
            if not fall.end_is_air:
                confidence, reasons = 0.5, [*reasons, _TOO_FAST]
        elif pressure.end > latest + CABIN.known_after:
            confidence, reasons = 0.6, ["neither empty nor filled again within 3 h"]
        else:
            event_type, state = "airlock_depressurisation", "open"
            lowest = _lowest(pressure, fall.passed, pressure.end)
            confidence, reasons = next((sure, [why]) for limit, sure, why in _EXPECTATIONS if lowest <= limit)
        equipment_lock = context.equipment_lock.holding(fall.passed)
        if equipment_lock is not None and equipment_lock < CABIN.leave:
            reasons = [*reasons, "the equipment lock fell along"]
            confidence = min(confidence, 0.3) if state == "open" else confidence
        hiding = gaps.hiding(pressure, first)
        if hiding is not None:
            confidence, reasons = min(confidence, 0.7), [*reasons, _OUT_OF_SIGHT]
        payload = {
            "duration_seconds": None if ended_at is None else (ended_at - started_at) / SECOND,
            "lowest_pressure_mmhg": _lowest(pressure, fall.passed, until if ended_at is None else ended_at),
            "equipment_lock_mmhg": equipment_lock,
            "hidden_since": _hidden_since(hiding),
            "reasons": reasons,
        }
        return self._event(event_type, self.item, started_at, ended_at, state, confidence, payload)

    def _spacewalk(self, vacuum: Fall, watermark: int, context: _Context) -> DetectedEvent:
        latest = vacuum.passed + LONGEST_SPACEWALK
        ended_at = vacuum.last_below if vacuum.is_over else None
        is_open = not vacuum.is_over and watermark <= latest + VACUUM.known_after
        confidence, reasons = context.judge(vacuum.passed)
        if ended_at is not None and ended_at - vacuum.passed < SHORTEST_SPACEWALK:
            confidence, reasons = min(confidence, 0.5), [*reasons, "too short for work outside"]
        elif is_open and watermark - vacuum.passed < SHORTEST_SPACEWALK:
            confidence, reasons = min(confidence, 0.8), [*reasons, "just begun"]
        elif not vacuum.is_over and not is_open:
            confidence, reasons = min(confidence, 0.4), [*reasons, "longer than any spacewalk"]
        if vacuum.hiding is not None:
            confidence, reasons = min(confidence, 0.7), [*reasons, _OUT_OF_SIGHT]
        if not vacuum.end_is_air:
            confidence, reasons = min(confidence, 0.7), [*reasons, _TOO_FAST]
        if vacuum.end_hiding is not None:
            reasons = [*reasons, "out of sight when it was filled again: the end is an interval"]
        payload = {
            "duration_seconds": None if ended_at is None else (ended_at - vacuum.passed) / SECOND,
            "equipment_lock_mmhg": context.equipment_lock.holding(vacuum.passed),
            "hidden_since": _hidden_since(vacuum.hiding),
            "end_hidden_since": _hidden_since(vacuum.end_hiding),
            "reasons": reasons,
        }
        # Where all the air went while the link was away, both events of the item begin with the same reading.
        evidence = f"{self.item} vacuum"
        state: EventState = "open" if is_open else "closed"
        return self._event("spacewalk", evidence, vacuum.passed, ended_at, state, confidence, payload)

    def _event(
        self,
        event_type: str,
        evidence: str,
        started_at: int,
        ended_at: int | None,
        state: EventState,
        confidence: float,
        payload: dict[str, Any],
    ) -> DetectedEvent:
        return DetectedEvent(
            event_id=event_id(self.name, evidence, moment_of(started_at)),
            detector=self.name,
            detector_version=self.version,
            event_type=event_type,
            item=self.item,
            started_at=moment_of(started_at),
            ended_at=None if ended_at is None else moment_of(ended_at),
            state=state,
            confidence=round(confidence, 2),
            payload=payload,
        )


@dataclass(frozen=True)
class _Context:
    equipment_lock: HeldValues
    pumps: tuple[HeldValues, ...]
    suits: tuple[HeldValues, ...]
    mode: HeldValues

    def judge(self, vacuum_at: int) -> tuple[float, list[str]]:
        """How sure it is that an empty crew lock is a spacewalk, and why."""
        since = vacuum_at - PREPARATION
        pump, suit = _greatest(self.pumps, since, vacuum_at), _greatest(self.suits, since, vacuum_at)
        mode = self.mode.holding(vacuum_at)
        signs = (
            (pump, pump == 1.0, "the pump ran", "the pump did not run"),
            (
                suit,
                suit is not None and suit >= _SUIT_POWER_V,
                "the suits had power",
                "the suits had no power",
            ),
            (mode, mode == _MODE_WORK_OUTSIDE, "the station is set up for work outside", ""),
        )
        confidence, reasons = 0.75, ["the crew lock is empty"]
        for value, speaks_for, found, missing in signs:
            if value is not None and (speaks_for or missing):
                confidence += 0.1 if speaks_for else -0.2
                reasons.append(found if speaks_for else missing)
        other = self.equipment_lock.holding(vacuum_at)
        if other is not None and other < VACUUM.leave:
            confidence = 0.4
            reasons.append("the equipment lock is empty, too")
        return min(confidence, 0.95), reasons


def _greatest(items: tuple[HeldValues, ...], start: int, end: int) -> float | None:
    known = [value for value in (held.greatest(start, end) for held in items) if value is not None]
    return max(known, default=None)


def _lowest(pressure: HeldValues, start: int, end: int) -> float:
    values = pressure.value[pressure.position(start) : pressure.position(end) + 1]
    return float(min(value for value in values.tolist() if value == value))


def _hidden_since(hiding: Hiding | None) -> str | None:
    return None if hiding is None or hiding.since is None else moment_of(hiding.since).isoformat()
