"""The airlock: now and then the crew lock is emptied for a spacewalk, and its sensor is not always right."""

# ruff: noqa: S311 - seeded chance, nothing secret

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from random import Random

from iss_simulator.crew import arrivals
from iss_simulator.feed import GOOD, Update, sample_phase
from iss_simulator.truth import Kind, TrueEvent

CREW_LOCK, EQUIPMENT_LOCK = "AIRLOCK000049", "AIRLOCK000054"
PUMP_POWER, PUMP_SWITCH = "AIRLOCK000047", "AIRLOCK000048"
SUIT_VOLTS = ("AIRLOCK000001", "AIRLOCK000003")
SUIT_AMPERES = ("AIRLOCK000002", "AIRLOCK000004")
STATION_MODE = "USLAB000086"
ITEMS = (CREW_LOCK, EQUIPMENT_LOCK, PUMP_POWER, PUMP_SWITCH, *SUIT_VOLTS, *SUIT_AMPERES, STATION_MODE)

_MICROGRAVITY, _WORK_OUTSIDE = "2", "16"
_SPACEWALKS_A_DAY = 0.25
_MORNING = (0.0,) * 7 + (1.0,) * 4 + (0.0,) * 13
_STAY_SHARE, _ABORT_SHARE = 0.4, 0.15
_REST_BETWEEN_S = 43_200
_FAULTS_A_DAY = 1.0

# mmHg: a stay at 10.2 psi, the hold for a leak check at 5 psi, and 0.5 psi, below which the lock is empty.
_STAY, _LEAK_CHECK, _EMPTY = 527.0, 259.0, 26.0
_PUMP_TAU_S, _VENT_TAU_S = 780.0, 200.0
_PUMP_ENDS_AT = 110.0
_NOISE = 0.3
_TICK_S = 60
_OFF_SCALE_LOW = "4"


class Airlock:
    """Makes the story from `since` on as far as it is asked for; the same for the same arguments."""

    def __init__(self, seed: int, since: datetime) -> None:
        self.updates: dict[str, list[Update]] = {item: [] for item in ITEMS}
        self.truth: list[TrueEvent] = []
        self._since = since
        self._random = Random(f"{seed} airlock")
        self._days = arrivals(Random(f"{seed} spacewalks"), since, _SPACEWALKS_A_DAY, _MORNING)
        self._second = 0
        self._cabin = self._random.uniform(735, 755)
        self._suits_on = False
        self._script = self._run()
        self._told_until = since

    def tell(self, until: datetime) -> None:
        """Go on with the story until at least the given moment."""
        while self._told_until <= until:
            self._told_until = next(self._script)

    def _run(self) -> Iterator[datetime]:
        """A whole spacewalk is told in one go: what began is known with its end."""
        self._say_states((PUMP_POWER, "0"), (PUMP_SWITCH, "0"), (STATION_MODE, _MICROGRAVITY))
        for due in self._days:
            if due < self._second + _REST_BETWEEN_S:
                continue
            while self._second < due:
                self._rest()
                yield self._moment()
            self._prepare_and_go_out()
            yield self._moment()

    def _rest(self) -> None:
        random = self._random
        self._cabin += random.gauss(0, 0.05) + (745 - self._cabin) * 0.0005
        if random.random() < _FAULTS_A_DAY * _TICK_S / 86_400:
            random.choice((self._spike, self._dead_sensor, self._zero_sensor, self._stuck_sensor))()
        if self._second % 600 < _TICK_S:
            self._say_suits()
        self._hold(self._cabin, _TICK_S)

    def _prepare_and_go_out(self) -> None:
        random = self._random
        self._say_states((STATION_MODE, _WORK_OUTSIDE))
        self._suits_on = True
        self._say_suits()
        self._hold(self._cabin, random.randint(1200, 2400))
        if random.random() < _STAY_SHARE:
            self._stay()
            self._hold(self._cabin, random.randint(1800, 3600))
        self._empty_the_lock()
        self._suits_on = False
        self._say_suits()
        self._hold(self._cabin, 1200)
        self._say_states((STATION_MODE, _MICROGRAVITY))

    def _stay(self) -> None:
        """Both chambers go to 10.2 psi while the suits are put on, and back."""
        began = self._second
        self._move(_STAY, lambda s: self._cabin - 0.3 * s, both=True)
        self._hold(_STAY, self._random.randint(2400, 4200), both=True)
        self._move(self._cabin, lambda s: _STAY + 0.5 * s, both=True)
        self._note("airlock_partial_depressurisation", began, self._second, lowest_pressure_mmhg=_STAY)

    def _empty_the_lock(self) -> None:
        random, began = self._random, self._second
        self._say_states((PUMP_SWITCH, "1"), (PUMP_POWER, "1"))
        self._move(_LEAK_CHECK, lambda s: self._cabin * math.exp(-s / _PUMP_TAU_S))
        self._hold(_LEAK_CHECK, random.randint(180, 420), every_s=5)
        if random.random() < _ABORT_SHARE:
            self._say_states((PUMP_SWITCH, "0"), (PUMP_POWER, "0"))
            self._move(self._cabin, lambda s: _LEAK_CHECK + 1.0 * s)
            self._note(
                "airlock_partial_depressurisation", began, self._second, lowest_pressure_mmhg=_LEAK_CHECK
            )
            return
        self._move(_PUMP_ENDS_AT, lambda s: _LEAK_CHECK * math.exp(-s / _PUMP_TAU_S))
        self._say_states((PUMP_SWITCH, "0"), (PUMP_POWER, "0"))
        vented_from = self._second
        self._move(0.5, lambda s: _PUMP_ENDS_AT * math.exp(-s / _VENT_TAU_S))
        empty_from = vented_from + math.ceil(_VENT_TAU_S * math.log(_PUMP_ENDS_AT / _EMPTY))
        self._note("airlock_depressurisation", began, empty_from)

        self._suits_on = False  # on their batteries
        self._say_suits()
        self._hold(0.5, round(min(32_000, max(14_000, random.gauss(23_400, 2500)))))
        self._suits_on = True
        self._say_suits()
        self._note("spacewalk", empty_from, self._second)
        self._move(_LEAK_CHECK, lambda s: 1.5 * s)
        self._hold(_LEAK_CHECK, random.randint(120, 240), every_s=5)
        self._move(self._cabin, lambda s: _LEAK_CHECK + 1.2 * s)

    def _move(self, goal: float, law: Callable[[int], float], both: bool = False) -> None:
        """Follow a law (mmHg by seconds) up or down to a goal, told each second."""
        began, upwards = self._second, 1 if goal > law(0) else -1
        while (goal - (pressure := law(self._second - began))) * upwards > 0:
            self._say_pressure(pressure, both, is_minute=(self._second - began) % _TICK_S == 0)
            self._second += 1

    def _hold(self, pressure: float, seconds: int, both: bool = False, every_s: int = _TICK_S) -> None:
        for elapsed in range(0, seconds, every_s):
            self._say_pressure(pressure, both, is_minute=elapsed % _TICK_S == 0)
            self._second += min(every_s, seconds - elapsed)

    def _spike(self) -> None:
        self._say(CREW_LOCK, "0.00")
        self._second += 1
        self._say_pressure(self._cabin, both=False, is_minute=False)
        self._second += 1

    def _dead_sensor(self) -> None:
        self._say(CREW_LOCK, "0.00", _OFF_SCALE_LOW)
        self._second += self._random.randint(300, 3000)

    def _zero_sensor(self) -> None:
        self._say(CREW_LOCK, "0.00")
        self._second += self._random.randint(120, 1200)

    def _stuck_sensor(self) -> None:
        for _ in range(self._random.randint(30, 300)):
            self._say(EQUIPMENT_LOCK, self._reading(self._cabin))
            self._second += _TICK_S

    def _note(self, kind: Kind, began: int, ended: int, **facts: float) -> None:
        self.truth.append(TrueEvent(kind, CREW_LOCK, self._moment(began), self._moment(ended), facts=facts))

    def _say_pressure(self, pressure: float, both: bool, is_minute: bool) -> None:
        self._say(CREW_LOCK, self._reading(pressure))
        if both or is_minute:
            self._say(EQUIPMENT_LOCK, self._reading(pressure if both else self._cabin))

    def _reading(self, pressure: float) -> str:
        return f"{pressure + self._random.gauss(0, _NOISE):.2f}"

    def _say_suits(self) -> None:
        for items, on in ((SUIT_VOLTS, 18.5), (SUIT_AMPERES, 2.8)):
            for item in items:
                self._say(item, f"{abs(self._random.gauss(on if self._suits_on else 0.0, 0.03)):.2f}")

    def _say_states(self, *states: tuple[str, str]) -> None:
        for item, state in states:
            self._say(item, state)

    def _say(self, item: str, value: str, status_class: str = GOOD) -> None:
        ts = self._since + timedelta(seconds=self._second) + sample_phase(item)
        self.updates[item].append(Update(item, ts, value, status_class))

    def _moment(self, second: int | None = None) -> datetime:
        return self._since + timedelta(seconds=self._second if second is None else second)
