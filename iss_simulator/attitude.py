"""How the station is steered: it turns for ships and back, hands over control, fills its gyroscopes."""

# ruff: noqa: S311 - seeded chance, nothing secret

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import datetime, timedelta
from random import Random

from iss_simulator.crew import arrivals
from iss_simulator.feed import Update, sample_phase
from iss_simulator.truth import Kind, TrueEvent

MODE, MANOEUVRE = "USLAB000012", "USLAB000081"
SATURATION, DESATURATION = "USLAB000010", "USLAB000011"
QUATERNION = ("USLAB000018", "USLAB000019", "USLAB000020", "USLAB000021")
ITEMS = (MODE, MANOEUVRE, SATURATION, DESATURATION, *QUATERNION)

_STANDBY, _GYROSCOPES, _WITH_THRUSTERS, _USER_DATA, _FREE_DRIFT = "3", "4", "5", "6", "7"
_EPISODES_A_DAY = 1.2
_FLICKERS_A_DAY = 2.0
_SIGN_CHANGES_A_DAY = 3.0
_ORBIT_S = 5560.0
_SWING_DEG = 0.5
_TICK_S, _QUATERNION_TICK_S, _TURN_TICK_S = 60, 120, 4

Quaternion = tuple[float, float, float, float]


class Attitude:
    """Makes the story from `since` on as far as it is asked for; the same for the same arguments."""

    def __init__(self, seed: int, since: datetime) -> None:
        self.updates: dict[str, list[Update]] = {item: [] for item in ITEMS}
        self.truth: list[TrueEvent] = []
        self._since = since
        self._random = Random(f"{seed} attitude")
        self._episodes = arrivals(Random(f"{seed} manoeuvres"), since, _EPISODES_A_DAY)
        self._second = 0
        self._mode = _GYROSCOPES
        self._attitude: Quaternion = _rotation(_axis(self._random), self._random.uniform(0, 10))
        self._sign = 1.0
        self._saturation = self._random.uniform(15, 50)
        self._script = self._run()
        self._told_until = since

    def tell(self, until: datetime) -> None:
        """Go on with the story until at least the given moment."""
        while self._told_until <= until:
            self._told_until = next(self._script)

    def _run(self) -> Iterator[datetime]:
        """An episode is told in one go: what began is known with its end."""
        for item, state in ((MODE, self._mode), (MANOEUVRE, "0"), (DESATURATION, "0")):
            self._say(item, state)
        acts = (self._turn_there_and_back, self._docking, self._handover, self._saturated)
        for due in self._episodes:
            while self._second < max(due, 2 * _TICK_S):
                self._rest()
                yield self._moment()
            self._random.choice(acts)()
            yield self._moment()

    def _rest(self, seconds: int = _TICK_S) -> None:
        """Hold the attitude, with what the sensors make of it."""
        random = self._random
        for _ in range(0, seconds, _TICK_S):
            if random.random() < _FLICKERS_A_DAY * _TICK_S / 86_400:
                self._flicker(*random.choice(((MODE, self._mode, _FREE_DRIFT), (MANOEUVRE, "0", "1"))))
            if random.random() < _SIGN_CHANGES_A_DAY * _TICK_S / 86_400:
                self._sign = -self._sign
            if self._second % _QUATERNION_TICK_S < _TICK_S:
                self._say_attitude(self._attitude)
            self._saturation = min(75.0, max(5.0, self._saturation + random.gauss(0, 0.8)))
            is_spike = random.random() < 0.5 * _TICK_S / 86_400
            self._say(SATURATION, f"{97.0 if is_spike else self._saturation:.2f}")
            self._second += _TICK_S

    def _flicker(self, item: str, state: str, other: str) -> None:
        self._say(item, other)
        self._second += self._random.randint(1, 4)
        self._say(item, state)
        self._second += 1

    def _turn_there_and_back(self) -> None:
        home = self._attitude
        self._change_mode(_WITH_THRUSTERS)
        self._rest(180)
        self._turn(self._draw_goal())
        self._rest(60 * self._random.randint(20, 240))
        self._turn(home)
        self._rest(300)
        self._change_mode(_GYROSCOPES)
        self._rest()

    def _docking(self) -> None:
        home = self._attitude
        self._change_mode(_WITH_THRUSTERS)
        self._rest(120)
        self._turn(self._draw_goal())
        self._say(DESATURATION, "1")
        self._rest(60 * self._random.randint(20, 60))
        self._change_mode(_FREE_DRIFT)
        self._rest(60 * self._random.randint(15, 30))
        self._change_mode(_WITH_THRUSTERS)
        self._say(DESATURATION, "0")
        self._rest(600)
        self._turn(home)
        self._rest(600)
        self._change_mode(_GYROSCOPES)
        self._rest()

    def _handover(self) -> None:
        """Somebody else steers for a while; the way back leads through standby for some seconds."""
        self._change_mode(_USER_DATA)
        self._rest(60 * self._random.randint(40, 180))
        self._change_mode(_GYROSCOPES, through=_STANDBY)
        self._rest()

    def _saturated(self) -> None:
        """The momentum grows until the thrusters take it."""
        random = self._random
        self._climb(96.0, random.uniform(3.0, 8.0))
        began = self._second
        for _ in range(random.randint(4, 40)):
            self._say(SATURATION, f"{random.uniform(93, 99):.2f}")
            self._second += _TICK_S
        self._note("gyroscope_saturation", SATURATION, began, self._second)
        self._climb(40.0, -random.uniform(10.0, 25.0))

    def _climb(self, goal: float, percent_per_tick: float) -> None:
        while (goal - self._saturation) * percent_per_tick > 0 and self._saturation + percent_per_tick < 90:
            self._saturation += percent_per_tick
            self._say(SATURATION, f"{self._saturation:.2f}")
            self._second += _TICK_S

    def _draw_goal(self) -> Quaternion:
        """Half of the turns are the usual ones, by 90 or 180 degrees."""
        random = self._random
        angle = random.choice((90.0, 180.0)) if random.random() < 0.5 else random.uniform(8, 120)
        return _product(_rotation(_axis(random), angle), self._attitude)

    def _turn(self, goal: Quaternion) -> None:
        """Go to another attitude with the manoeuvre flag up, slowly at both ends."""
        random, start, began = self._random, self._attitude, self._second
        way = _product(goal, _conjugate(start))
        angle = math.degrees(2 * math.acos(min(1.0, abs(way[0]))))
        size = math.hypot(*way[1:]) or 1.0
        axis = tuple(part / size * math.copysign(1.0, way[0]) for part in way[1:])
        seconds = max(120, round(angle / random.choice((0.2, 0.12, 0.06))))
        self._say(MANOEUVRE, "1")
        while self._second < began + seconds:
            share = (self._second - began) / seconds
            eased = share * share * (3 - 2 * share)
            self._attitude = _product(_rotation(axis, angle * eased), start)
            self._say_attitude(self._attitude)
            if (self._second - began) % _TICK_S == 0:
                self._say(SATURATION, f"{min(88.0, self._saturation + 20 * eased):.2f}")
            self._second += _TURN_TICK_S
        self._attitude = goal
        self._say_attitude(goal)
        self._second += 1
        self._say(MANOEUVRE, "0")
        self._note("station_manoeuvre", MANOEUVRE, began, self._second, angle_deg=angle)
        self._second += _TICK_S

    def _change_mode(self, mode: str, through: str | None = None) -> None:
        facts = {"from": float(self._mode), "to": float(mode)}
        self._note("attitude_mode_change", MODE, self._second, self._second, **facts)
        if through is not None:
            self._say(MODE, through)
            self._second += self._random.randint(2, 6)
        self._say(MODE, mode)
        self._mode = mode
        self._second += 1

    def _say_attitude(self, attitude: Quaternion) -> None:
        swing = _SWING_DEG * math.sin(2 * math.pi * self._second / _ORBIT_S)
        seen = _product(_rotation((0.0, 1.0, 0.0), swing + self._random.gauss(0, 0.01)), attitude)
        for item, part in zip(QUATERNION, seen, strict=True):
            self._say(item, f"{self._sign * part:.9f}")

    def _note(self, kind: Kind, item: str, began: int, ended: int, **facts: float) -> None:
        self.truth.append(TrueEvent(kind, item, self._moment(began), self._moment(ended), facts=facts))

    def _say(self, item: str, value: str) -> None:
        ts = self._since + timedelta(seconds=self._second) + sample_phase(item)
        self.updates[item].append(Update(item, ts, value))

    def _moment(self, second: int | None = None) -> datetime:
        return self._since + timedelta(seconds=self._second if second is None else second)


def _axis(random: Random) -> tuple[float, ...]:
    """A direction, mostly near yaw or pitch."""
    parts = [random.gauss(0, 0.2), random.gauss(0, 1.0), random.gauss(0, 1.0)]
    size = math.hypot(*parts)
    return tuple(part / size for part in parts)


def _rotation(axis: tuple[float, ...], degrees: float) -> Quaternion:
    half = math.radians(degrees) / 2
    x, y, z = (part * math.sin(half) for part in axis)
    return (math.cos(half), x, y, z)


def _product(a: Quaternion, b: Quaternion) -> Quaternion:
    return (
        a[0] * b[0] - a[1] * b[1] - a[2] * b[2] - a[3] * b[3],
        a[0] * b[1] + a[1] * b[0] + a[2] * b[3] - a[3] * b[2],
        a[0] * b[2] - a[1] * b[3] + a[2] * b[0] + a[3] * b[1],
        a[0] * b[3] + a[1] * b[2] - a[2] * b[1] + a[3] * b[0],
    )


def _conjugate(a: Quaternion) -> Quaternion:
    return (a[0], -a[1], -a[2], -a[3])
