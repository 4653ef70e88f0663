"""The Water Processor (WPA) with its two tanks: NODE3000006 to NODE3000009."""

# ruff: noqa: S311 - seeded chance, nothing secret

from __future__ import annotations

from bisect import insort
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import attrgetter
from random import Random

from iss_simulator.crew import AWAKE_RHYTHM
from iss_simulator.feed import Update, sample_phase
from iss_simulator.truth import Kind, TrueEvent

WPA_STATE, WPA_STEP = "NODE3000006", "NODE3000007"
WASTE_TANK, CLEAN_TANK = "NODE3000008", "NODE3000009"
ITEMS = (WPA_STATE, WPA_STEP, WASTE_TANK, CLEAN_TANK)

LOW_PERCENT, HIGH_PERCENT = 20.0, 80.0
"""The clean tank is low below the one, the waste tank high above the other."""

_STANDBY, _PROCESS, _HOT_SERVICE = "3", "4", "5"
_STEP_NONE, _STEP_FLOW = "0", "4"
_START_UP = (("1", 120), ("2", 1800), ("3", 300))
"""WPA steps before water flows (VENT, HEATUP, PURGE), each with its seconds."""

_TICK_S = 120
_HOUR_S = 3600.0
_NOISE_PERCENT = 0.03
_MEAN_RHYTHM = sum(AWAKE_RHYTHM) / len(AWAKE_RHYTHM)
_CONDENSATE, _CREWS_WASTE = 0.35, 0.65
_OXYGEN_USE, _CREWS_USE = 0.3, 0.75
"""What flows into the waste tank and out of the clean one, % an hour; the crew's part follows its day."""

_REJECTED_SHARE = 0.03
_OVERDUE_SHARE = 0.2
_INTERRUPTED_SHARE = 0.2
_HAND_PUMPS_A_DAY = 0.5
_APART_S = 7200
"""Calm after one flow before another begins by itself: two closer ones could not be told apart."""
_BAD_READINGS_A_DAY = 3.0
_STATE_BLIPS_A_DAY = 1.5


@dataclass
class _Flow:
    """Water that is pumped: % an hour into the waste and the clean tank, until a level or a second is
    reached."""

    began: int
    kinds: tuple[tuple[Kind, str], ...]
    waste_rate: float
    clean_rate: float
    until: float
    stop_level: float
    levels_before: dict[str, float]


class WaterSystem:
    """Makes the story from `since` on as far as it is asked for; the same for the same arguments.

    The processor turns waste water into clean water once the waste tank is well filled. Sometimes it is
    overdue, so that one tank gets full and the other empty, and sometimes a run is interrupted; now and then
    people pump water in or out by hand. The levels are noisy, and a few of their readings are bad.
    """

    def __init__(self, seed: int, since: datetime) -> None:
        self.updates: dict[str, list[Update]] = {item: [] for item in ITEMS}
        self.truth: list[TrueEvent] = []
        self._since = since
        self._random = Random(f"{seed} water")
        self._level = {
            WASTE_TANK: self._random.uniform(20, 50),
            CLEAN_TANK: self._random.uniform(45, 70),
        }
        self._start_level = 0.0
        self._run_began: int | None = None
        self._flow: _Flow | None = None
        self._flow_due: float | None = None
        self._resumes_at: float | None = None
        self._alarmed = {WASTE_TANK: False, CLEAN_TANK: False}
        self._second = 0
        self._calm_until = 0
        self._plan_start()
        self._say(WPA_STATE, 0, _STANDBY)
        self._say(WPA_STEP, 0, _STEP_NONE)
        self._say_levels()

    def tell(self, until: datetime) -> None:
        """Go on with the story until at least the given moment, and to the end of what has begun by then."""
        while self._moment(self._second) <= until or self._is_told_later(until):
            self._tick()

    def _is_told_later(self, until: datetime) -> bool:
        begins = [self._run_began, self._flow.began if self._flow else None]
        return any(began is not None and self._moment(began) <= until for began in begins)

    def _tick(self) -> None:
        self._second += _TICK_S
        hours = _TICK_S / _HOUR_S
        crew = AWAKE_RHYTHM[self._moment(self._second).hour] / _MEAN_RHYTHM * self._random.uniform(0.2, 1.8)
        waste_rate = _CONDENSATE + _CREWS_WASTE * crew
        clean_rate = -_OXYGEN_USE - _CREWS_USE * crew
        if self._flow is not None:
            waste_rate += self._flow.waste_rate
            clean_rate += self._flow.clean_rate
        for item, rate in ((WASTE_TANK, waste_rate), (CLEAN_TANK, clean_rate)):
            self._level[item] = min(98.0, max(2.0, self._level[item] + rate * hours))
        self._conduct()
        self._watch_limits()
        self._say_levels()

    def _conduct(self) -> None:
        """Begin and end what is due."""
        second, random = self._second, self._random
        if self._flow is not None:
            is_done = self._level[WASTE_TANK] <= self._flow.stop_level or self._level[CLEAN_TANK] > 95
            if second >= self._flow.until or is_done:
                self._end_flow()
        elif self._flow_due is not None:
            if second >= self._flow_due:
                self._begin_processing()
        elif self._resumes_at is not None:
            if second >= self._resumes_at:
                self._resumes_at = None
                self._begin_run()
        elif second < self._calm_until:
            pass
        elif self._level[WASTE_TANK] >= self._start_level and self._level[CLEAN_TANK] < 40:
            self._begin_run()
        elif self._level[CLEAN_TANK] < 8 or random.random() < _HAND_PUMPS_A_DAY * _TICK_S / 86_400:
            self._pump_by_hand()
        if random.random() < _STATE_BLIPS_A_DAY * _TICK_S / 86_400:
            self._blip()

    def _plan_start(self) -> None:
        overdue = self._random.random() < _OVERDUE_SHARE
        self._start_level = self._random.uniform(84, 92) if overdue else self._random.uniform(58, 68)

    def _begin_run(self) -> None:
        self._say(WPA_STATE, self._second, _PROCESS)
        self._run_began = began = self._second
        for step, seconds in _START_UP:
            self._say(WPA_STEP, began, step)
            began += seconds
        self._say(WPA_STEP, began, _STEP_FLOW)
        self._flow_due = began

    def _begin_processing(self) -> None:
        rate = self._random.uniform(9.5, 13)
        stop_level = self._random.uniform(8, 15)
        hours = (self._level[WASTE_TANK] - stop_level) / rate
        until = float("inf")
        if hours > 2.5 and self._random.random() < _INTERRUPTED_SHARE:
            until = self._second + self._random.uniform(1.0, hours - 1.2) * _HOUR_S
        kinds: tuple[tuple[Kind, str], ...] = (
            ("waste_tank_drain", WASTE_TANK),
            ("clean_tank_fill", CLEAN_TANK),
        )
        self._flow_due = None
        self._begin_flow(kinds, -rate, rate * (1 - _REJECTED_SHARE), until, stop_level)

    def _pump_by_hand(self) -> None:
        waste, clean = self._level[WASTE_TANK], self._level[CLEAN_TANK]
        rate = self._random.uniform(9, 20)
        until = self._second + self._random.uniform(6, 12) / rate * _HOUR_S
        if clean < 30:
            self._begin_flow((("clean_tank_fill", CLEAN_TANK),), 0.0, rate, until, 0.0)
        elif clean > 60:
            self._begin_flow((("clean_tank_drain", CLEAN_TANK),), 0.0, -rate, until, 0.0)
        elif waste < 40:
            self._begin_flow((("waste_tank_fill", WASTE_TANK),), rate, 0.0, until, 0.0)

    def _begin_flow(
        self,
        kinds: tuple[tuple[Kind, str], ...],
        waste_rate: float,
        clean_rate: float,
        until: float,
        stop_level: float,
    ) -> None:
        self._flow = _Flow(self._second, kinds, waste_rate, clean_rate, until, stop_level, dict(self._level))

    def _end_flow(self) -> None:
        flow, second = self._flow, self._second
        if flow is None:
            return
        self._flow = None
        self._calm_until = second + _APART_S
        for kind, item in flow.kinds:
            self._note(kind, item, flow.began, flow.levels_before[item])
        if self._run_began is None:
            return
        interrupted = second >= flow.until
        self._say(WPA_STATE, second, _HOT_SERVICE if interrupted else _STANDBY)
        self._say(WPA_STEP, second, _STEP_NONE)
        self._note("water_processor_run", WPA_STATE, self._run_began)
        self._run_began = None
        if interrupted:
            self._resumes_at = second + self._random.uniform(80, 160) * 60
        else:
            self._plan_start()

    def _watch_limits(self) -> None:
        waste, clean = self._level[WASTE_TANK], self._level[CLEAN_TANK]
        self._watch("waste_water_high", WASTE_TANK, beyond=waste - HIGH_PERCENT)
        self._watch("clean_water_low", CLEAN_TANK, beyond=LOW_PERCENT - clean)

    def _watch(self, kind: Kind, item: str, beyond: float) -> None:
        """Note when the limit is reached, once until the level is 3 % away from it again."""
        if beyond >= 0 and not self._alarmed[item]:
            self._alarmed[item] = True
            self._note(kind, item, self._second)
        elif beyond < -3:
            self._alarmed[item] = False

    def _note(self, kind: Kind, item: str, began: int, level_before: float | None = None) -> None:
        level = self._level.get(item, 0.0)
        before = level if level_before is None else level_before
        started_at, ended_at = self._moment(began), self._moment(self._second)
        self.truth.append(
            TrueEvent(
                kind,
                item,
                started_at,
                ended_at,
                amount_percent=level - before,
                level_before=before,
                level_after=level,
            )
        )

    def _blip(self) -> None:
        """For some seconds the processor says something else than what it does."""
        begins = self._second + self._random.randint(5, 40)
        said = self.updates[WPA_STATE][-1].value
        self._say(WPA_STATE, begins, self._random.choice("1245"))
        self._say(WPA_STATE, begins + self._random.randint(2, 30), said)

    def _say_levels(self) -> None:
        for item in (WASTE_TANK, CLEAN_TANK):
            if self._random.random() < _BAD_READINGS_A_DAY * _TICK_S / 86_400:
                self._say(item, self._second, self._random.choice(("0.00", "100.00", "")), status_class="1")
            else:
                self._say(
                    item, self._second, f"{self._level[item] + self._random.gauss(0, _NOISE_PERCENT):.2f}"
                )

    def _say(self, item: str, second: int, value: str, status_class: str = "24") -> None:
        # the steps of a start-up are said ahead of time
        update = Update(item, self._moment(second) + sample_phase(item), value, status_class)
        insort(self.updates[item], update, key=attrgetter("ts"))

    def _moment(self, second: int) -> datetime:
        return self._since + timedelta(seconds=second)
