"""The urine tank (NODE3000005, %) and the Urine Processor that empties it (state on NODE3000004)."""

# ruff: noqa: S311 - seeded chance, nothing secret

from __future__ import annotations

import math
from datetime import datetime, timedelta
from random import Random
from typing import NamedTuple

from iss_simulator.agenda import Agenda, Rehearsal
from iss_simulator.conditions import MEASURED, Conditions
from iss_simulator.crew import draw_visit_size
from iss_simulator.feed import Update, sample_phase
from iss_simulator.level_sensor import LevelSensor, Steps
from iss_simulator.signal_loss import SignalLoss
from iss_simulator.truth import Kind, TrueEvent
from iss_simulator.urine_processor import UrineProcessor

LEVEL_ITEM = "NODE3000005"
STATE_ITEM = "NODE3000004"

_FULL = 75
_CADENCE_S = 6.0
_LATE_STEP_SHARE = 0.25
_APART_S = 200.0
"""Pause after one event before another begins: two closer ones could not be told apart."""
_CROWDED_APART_S = (30.0, 200.0)
_TRANSFER_PERCENT = 11
_SMALL_TRANSFER_PERCENT = 3
_TRICKLE_CADENCE_S = (10.0, 40.0)
_TRICKLE_PERCENT = 20


class _Part(NamedTuple):
    """A part of a rise: whole steps, at so many seconds each, after a pause (s)."""

    steps: int
    cadence_s: float
    pause_s: float = 0.0


class UrineTank:
    """Makes the tank's story from `since` on, as far as it is asked for; the same for the same arguments."""

    def __init__(
        self,
        seed: int,
        since: datetime,
        signal_loss: SignalLoss,
        rehearsal: Rehearsal | None = None,
        conditions: Conditions = MEASURED,
    ) -> None:
        self.truth: list[TrueEvent] = []
        self.levels: list[Update] = []
        self.states: list[Update] = []
        self.updates = {LEVEL_ITEM: self.levels, STATE_ITEM: self.states}
        self._since = since
        self._signal_loss = signal_loss
        self._rehearsal = rehearsal
        self._random = Random(f"{seed} tank")
        self._is_crowded = conditions.crowded
        self._sensor = LevelSensor(
            Random(f"{seed} sensor"),
            self._random.uniform(15, 55),
            dither_half_width=conditions.dither_half_width,
        )
        self._processor = UrineProcessor(Random(f"{seed} processor"), since)
        self._agenda = Agenda(seed, since, rehearsal)
        self._free_from = 0.0
        self._drain: tuple[float, float] | None = None

    @property
    def told_until(self) -> datetime:
        """All updates and truths that begin before this moment are known."""
        return self._since + timedelta(seconds=self._sensor.now)

    def tell(self, until: datetime) -> None:
        """Go on with the story until at least the given moment."""
        while self.told_until <= until:
            due, kind = self._agenda.pop()
            begins = max(due, self._free_from)
            if kind == "visit":
                self._idle_until(begins)
                self._visit(draw_visit_size(self._random))
            elif due >= self._free_from:
                self._idle_until(begins)
                self._happen(kind)
            self._publish()

    def _happen(self, kind: Kind) -> None:
        sensor = self._sensor
        if kind == "dribble":
            if sensor.high >= _FULL - 1:
                return
            self._rise("dribble", [_Part(1, _CADENCE_S)])
        elif kind == "transfer":
            self._transfer()
        elif kind == "fast_drain":
            if sensor.level > 25:
                self._fall(self._random.uniform(5, sensor.level - 15))
        elif kind == "reset":
            self._reset()

    def _transfer(self) -> None:
        random, room = self._random, _FULL - 2 - self._sensor.high
        least = _SMALL_TRANSFER_PERCENT if self._is_crowded else _TRANSFER_PERCENT
        if room < least or (self._processor.is_processing and not self._is_crowded):
            return
        if self._is_crowded and random.random() < 0.5:
            size, cadence_s = (
                random.randint(least, min(_TRICKLE_PERCENT, room)),
                random.uniform(*_TRICKLE_CADENCE_S),
            )
            change = random.choice((0.97, 1.03))
            self._rise("transfer", [_Part(1, _bounded(cadence_s * change**step)) for step in range(size)])
        else:
            size = random.randint(least, min(65, room))
            self._rise("transfer", [_Part(size, random.uniform(3, 4))])

    def _visit(self, size: int) -> None:
        size = min(size, _FULL - 1 - self._sensor.high)
        if size < 2:
            # nobody pours into a full tank; on stage it is emptied for the next visit
            if self._rehearsal and self.told_until >= self._rehearsal.begins_at:
                self._fall(8.0)
            return
        cadence = _CADENCE_S * self._random.gauss(1, 0.07)
        if self._random.random() < _LATE_STEP_SHARE:
            late = _Part(1, cadence, self._random.uniform(30, 90))
            self._rise("visit", [_Part(size - 1, cadence), late], late_step=True)
        else:
            self._rise("visit", [_Part(size, cadence)])

    def _rise(self, kind: Kind, parts: list[_Part], late_step: bool = False) -> None:
        """Fill by whole steps above the backlash."""
        sensor, began, before = self._sensor, self._sensor.now, self._sensor.level
        sensor.steps = Steps()
        goal = sensor.high
        for part in parts:
            sensor.move(part.pause_s, self._processor.percent_per_s)
            goal += part.steps
            target = goal + self._random.uniform(0, 1 - sensor.dither_half_width)
            rate = 1 / part.cadence_s + self._processor.percent_per_s
            sensor.move(max(0.0, target - sensor.level) / rate, rate)
        self._note(kind, began, before, late_step)

    def _fall(self, target: float) -> None:
        began, before = self._sensor.now, self._sensor.level
        rate = self._random.uniform(1.5, 3.6) / 60
        self._sensor.move((before - target) / rate, -rate)
        self._note("fast_drain", began, before)

    def _reset(self) -> None:
        sensor, random, began, before = self._sensor, self._random, self._sensor.now, self._sensor.level
        choices = [level for level in range(6, 60) if abs(level - before) >= 20]
        width = sensor.dither_half_width
        after = random.choice(choices) + random.uniform(width, 1 - width)
        between = 0.2 if random.random() < 0.5 else (before + after) / 2
        for level, wait in ((between, random.uniform(2, 9)), (after, 2.0)):
            sensor.jump(level)
            sensor.now += wait
        self._note("reset", began, before)

    def _note(self, kind: Kind, began: float, before: float, late_step: bool = False) -> None:
        sensor = self._sensor
        steps = sensor.steps if kind in ("visit", "dribble", "transfer") else Steps()
        started_at, ended_at = self._moment(began), self._moment(sensor.now)
        gaps = self._signal_loss.between(started_at, ended_at + timedelta(seconds=1))
        self.truth.append(
            TrueEvent(
                kind=kind,
                item=LEVEL_ITEM,
                started_at=started_at,
                ended_at=ended_at,
                amount_percent=sensor.level - before,
                level_before=before,
                level_after=sensor.level,
                steps=steps.count,
                first_step_at=None if steps.first_at is None else self._sample_time(steps.first_at),
                last_step_at=None if steps.last_at is None else self._sample_time(steps.last_at),
                upa_processing=self._processor.is_processing,
                late_step=late_step,
                masked=bool(gaps),
            )
        )
        apart_s = self._random.uniform(*_CROWDED_APART_S) if self._is_crowded else _APART_S
        self._free_from = sensor.now + apart_s
        self._observe()

    def _idle_until(self, end: float) -> None:
        sensor, processor = self._sensor, self._processor
        while sensor.now < end:
            seconds = min(end, processor.next_change(sensor.now, sensor.level)) - sensor.now
            sensor.move(seconds, processor.percent_per_s)
            self._observe()

    def _observe(self) -> None:
        """Let the processor see the level, and note a drain when it is over."""
        sensor, processor = self._sensor, self._processor
        was_processing = processor.is_processing
        processor.observe(sensor.now, sensor.level)
        if processor.is_processing and not was_processing:
            self._drain = (sensor.now, sensor.level)
        elif was_processing and not processor.is_processing and self._drain is not None:
            self._note_drain(*self._drain)

    def _note_drain(self, began: float, before: float) -> None:
        started_at, ended_at = self._moment(began), self._moment(self._sensor.now)
        level = self._sensor.level
        self.truth.append(
            TrueEvent(
                "drain", LEVEL_ITEM, started_at, ended_at, level - before, before, level, upa_processing=True
            )
        )

    def _publish(self) -> None:
        for second, value in self._sensor.samples:
            self.levels.append(Update(LEVEL_ITEM, self._sample_time(second), str(value)))
        self._sensor.samples.clear()
        for second, state in self._processor.samples:
            moment = self._since + timedelta(seconds=math.ceil(second)) + sample_phase(STATE_ITEM)
            self.states.append(Update(STATE_ITEM, moment, str(state.value)))
        self._processor.samples.clear()

    def _moment(self, seconds: float) -> datetime:
        return self._since + timedelta(milliseconds=round(seconds * 1000))

    def _sample_time(self, seconds: float) -> datetime:
        return self._since + timedelta(seconds=seconds) + sample_phase(LEVEL_ITEM)


def _bounded(cadence_s: float) -> float:
    shortest, longest = _TRICKLE_CADENCE_S
    return min(max(cadence_s, shortest), longest)
