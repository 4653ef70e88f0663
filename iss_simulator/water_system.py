"""The Water Processor (WPA) with its two tanks, and the oxygen generator: NODE3000006 to NODE3000011."""

# ruff: noqa: S311 - seeded chance, nothing secret

from __future__ import annotations

from bisect import insort
from collections.abc import Iterator
from datetime import datetime, timedelta
from operator import attrgetter
from random import Random

from iss_simulator.feed import Update, sample_phase
from iss_simulator.truth import TrueEvent

WPA_STATE, WPA_STEP = "NODE3000006", "NODE3000007"
WASTE_TANK, CLEAN_TANK = "NODE3000008", "NODE3000009"
OGA_STATE, OGA_RATE = "NODE3000010", "NODE3000011"
ITEMS = (WPA_STATE, WPA_STEP, WASTE_TANK, CLEAN_TANK, OGA_STATE, OGA_RATE)

_STANDBY, _PROCESS = "3", "4"
_STEP_NONE, _STEP_FLOW = "0", "4"
_START_UP = (("1", 120), ("2", 1800), ("3", 300))
"""WPA steps before water flows (VENT, HEATUP, PURGE), each with its seconds."""

_OGA_PROCESS, _OGA_STANDBY = "1", "2"
_O2_LB_A_DAY = 5.1
_TICK_S = 120
_INFLOW_PERCENT_PER_S = 40.0 / 86_400
_OUTFLOW_PERCENT_PER_S = 12.0 / 3600
_CLEAN_PER_WASTE = 0.5
_CLEAN_USE_PERCENT_PER_S = 20.0 / 86_400


class WaterSystem:
    """Makes the story from `since` on as far as it is asked for; the same for the same arguments."""

    def __init__(self, seed: int, since: datetime) -> None:
        self.updates: dict[str, list[Update]] = {item: [] for item in ITEMS}
        self.truth: list[TrueEvent] = []
        self._since = since
        self._script = self._run(Random(f"{seed} water"))
        self._told_until = since

    def tell(self, until: datetime) -> None:
        """Go on with the story until at least the given moment."""
        while self._told_until <= until:
            self._told_until = next(self._script)

    def _run(self, random: Random) -> Iterator[datetime]:
        waste, clean = random.uniform(20, 50), random.uniform(40, 70)
        processing_until: float | None = None
        oxygen = True
        second = 0
        for item, value in (
            (WPA_STATE, _STANDBY),
            (WPA_STEP, _STEP_NONE),
            (WASTE_TANK, f"{waste:.2f}"),
            (CLEAN_TANK, f"{clean:.2f}"),
            (OGA_STATE, _OGA_PROCESS),
            (OGA_RATE, f"{_O2_LB_A_DAY:.2f}"),
        ):
            self._say(item, second, value)
        while True:
            second += _TICK_S
            waste += _INFLOW_PERCENT_PER_S * _TICK_S
            clean = max(5.0, clean - _CLEAN_USE_PERCENT_PER_S * _TICK_S)
            if processing_until is None and waste > 65:
                processing_until = self._start_wpa(second, waste)
            elif processing_until is not None and second > processing_until:
                processing_until = None
                self._say(WPA_STATE, second, _STANDBY)
                self._say(WPA_STEP, second, _STEP_NONE)
            elif processing_until is not None:
                waste -= _OUTFLOW_PERCENT_PER_S * _TICK_S
                clean = min(95.0, clean + _CLEAN_PER_WASTE * _OUTFLOW_PERCENT_PER_S * _TICK_S)
            self._say(WASTE_TANK, second, f"{waste + random.gauss(0, 0.02):.2f}")
            self._say(CLEAN_TANK, second, f"{clean + random.gauss(0, 0.02):.2f}")
            if random.random() < _TICK_S / 86_400:
                oxygen = not oxygen
                self._say(OGA_STATE, second, _OGA_PROCESS if oxygen else _OGA_STANDBY)
            self._say(OGA_RATE, second, f"{max(0.0, random.gauss(_O2_LB_A_DAY, 0.03)) if oxygen else 0:.2f}")
            yield self._since + timedelta(seconds=second)

    def _start_wpa(self, second: int, waste: float) -> float:
        self._say(WPA_STATE, second, _PROCESS)
        began = second
        for step, seconds in _START_UP:
            self._say(WPA_STEP, began, step)
            began += seconds
        self._say(WPA_STEP, began, _STEP_FLOW)
        return began + (waste - 12) / _OUTFLOW_PERCENT_PER_S

    def _say(self, item: str, second: int, value: str) -> None:
        # the steps of a start-up are said ahead of time
        update = Update(item, self._since + timedelta(seconds=second) + sample_phase(item), value)
        insort(self.updates[item], update, key=attrgetter("ts"))
