"""The oxygen generator (OGA): its state on NODE3000010 and the rate (kg a day) on NODE3000011."""

# ruff: noqa: S311 - seeded chance, nothing secret

from __future__ import annotations

from bisect import insort
from collections.abc import Iterator
from datetime import datetime, timedelta
from enum import IntEnum
from operator import attrgetter
from random import Random

from iss_simulator.feed import Update, sample_phase
from iss_simulator.truth import TrueEvent

OGA_STATE, OGA_RATE = "NODE3000010", "NODE3000011"
ITEMS = (OGA_STATE, OGA_RATE)

FILL_VALUE = "-59.457"
"""What the feed says where there is no rate."""

_TICK_S = 120
_DAY_S = 86_400
_MEAN_PROCESS_S = 16 * 3600
_RAMP_S = 240.0
_CHATTER_A_DAY = 1.5
_REPEATS_A_DAY = 4.0
_FILLS_A_DAY = 3.0
_HESITATES_SHARE = 0.2


class OgaState(IntEnum):
    """Values of NODE3000010."""

    PROCESS = 1
    STANDBY = 2
    SHUTDOWN = 3
    STOP = 4
    VENT_DOME = 5
    INERT_DOME = 6
    FAST_SHUTDOWN = 7
    N2_PURGE_SHUTDOWN = 8


_RESTART = ((OgaState.VENT_DOME, 5, 15), (OgaState.INERT_DOME, 10, 20), (OgaState.STANDBY, 20, 60))
_PAUSES: tuple[tuple[tuple[OgaState, float, float], ...], ...] = (
    ((OgaState.STANDBY, 60, 720),),
    ((OgaState.SHUTDOWN, 10, 30), (OgaState.STOP, 120, 1440), *_RESTART),
    (
        (OgaState.FAST_SHUTDOWN, 2, 4),
        (OgaState.N2_PURGE_SHUTDOWN, 20, 40),
        (OgaState.STOP, 120, 1440),
        *_RESTART,
    ),
)
"""How production pauses: states, each with the least and the most of its minutes. The states are the real
ones, their order and duration are made up."""


class OxygenGenerator:
    """Makes the story from `since` on as far as it is asked for; the same for the same arguments.

    The state changes a few times a day. Sometimes it flickers for seconds without a change, or before one;
    sometimes it is said again. The rate follows the state within minutes, and has the fill value at times.
    """

    def __init__(self, seed: int, since: datetime) -> None:
        self.updates: dict[str, list[Update]] = {item: [] for item in ITEMS}
        self.truth: list[TrueEvent] = []
        self._since = since
        self._random = Random(f"{seed} oxygen")
        self._plan = self._states()
        self._state, self._changes_at = next(self._plan)
        self._rate = 0.0
        self._goal = self._goal_of(self._state)
        self._second = 0
        self._say(OGA_STATE, 0, str(self._state.value))
        self._rate = self._goal
        self._say_rate()

    def tell(self, until: datetime) -> None:
        """Go on with the story until at least the given moment."""
        while self._since + timedelta(seconds=self._second) <= until:
            self._tick()

    def _states(self) -> Iterator[tuple[OgaState, int]]:
        """Each state in turn with the second at which it is left."""
        random, second = self._random, 0
        while True:
            second += 1800 + round(random.expovariate(1 / _MEAN_PROCESS_S))
            yield OgaState.PROCESS, second
            for state, least, most in random.choice(_PAUSES):
                second += round(random.uniform(least, most) * 60)
                yield state, second

    def _tick(self) -> None:
        begin, self._second = self._second, self._second + _TICK_S
        while self._changes_at < self._second:
            self._change()
        # Far from a change, so that what follows is a flicker for sure.
        is_calm = self._changes_at > self._second + 300 and self._is_settled(begin)
        if is_calm and self._chance(_CHATTER_A_DAY):
            self._chatter(begin)
        elif is_calm and self._chance(_REPEATS_A_DAY):
            self._say(OGA_STATE, begin + 60, str(self._state.value))
        self._rate += (self._goal - self._rate) * min(1.0, _TICK_S / _RAMP_S)
        self._say_rate()

    def _is_settled(self, second: int) -> bool:
        return not self.truth or self.truth[-1].started_at < self._moment(second - 300)

    def _chance(self, a_day: float) -> bool:
        return self._random.random() < a_day * _TICK_S / _DAY_S

    def _change(self) -> None:
        before, at = self._state, self._changes_at
        moment = self._moment(at) + sample_phase(OGA_STATE)
        self._state, self._changes_at = next(self._plan)
        if self._random.random() < _HESITATES_SHARE and self._changes_at - at > 200:
            self._say(OGA_STATE, at, str(self._state.value))
            at += self._random.randint(3, 20)
            self._say(OGA_STATE, at, str(before.value))
            at += self._random.randint(3, 20)
        self._say(OGA_STATE, at, str(self._state.value))
        rate_before, self._goal = self._goal, self._goal_of(self._state)
        self.truth.append(
            TrueEvent(
                "oxygen_state_change",
                OGA_STATE,
                moment,
                moment,
                facts={
                    "state_before": before.name,
                    "state_after": self._state.name,
                    "rate_before_kg_per_day": rate_before,
                    "rate_after_kg_per_day": self._goal,
                },
            )
        )

    def _goal_of(self, state: OgaState) -> float:
        return self._random.uniform(2.3, 5.4) if state is OgaState.PROCESS else 0.0

    def _chatter(self, begin: int) -> None:
        at = begin + 5
        others = [state for state in OgaState if state is not self._state]
        for _ in range(self._random.randint(1, 3)):
            self._say(OGA_STATE, at, str(self._random.choice(others).value))
            at += self._random.randint(2, 20)
            self._say(OGA_STATE, at, str(self._state.value))
            at += self._random.randint(2, 15)

    def _say_rate(self) -> None:
        if self._chance(_FILLS_A_DAY):
            self._say(OGA_RATE, self._second, FILL_VALUE)
        else:
            self._say(OGA_RATE, self._second, f"{max(0.0, self._rate + self._random.gauss(0, 0.03)):.2f}")

    def _say(self, item: str, second: int, value: str) -> None:
        update = Update(item, self._moment(second) + sample_phase(item), value)
        insort(self.updates[item], update, key=attrgetter("ts"))

    def _moment(self, second: int) -> datetime:
        return self._since + timedelta(seconds=second)
