"""The solar arrays: voltage and current of each through day and night, and the beta angle.

By night a power channel stands at the voltage of its battery, some 151.2 V. After sunrise the battery is
charged, at some 151.7 V; once it is full, the array stands near 160 V until sunset. Some arrays never come so
far. A shaded array falls back to its battery; before a docking most of them are turned away from the Sun.
"""

# ruff: noqa: S311 - seeded chance, nothing secret

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from operator import attrgetter
from random import Random
from zlib import crc32

from iss_simulator.feed import Update, sample_phase
from iss_simulator.minutes import bucket_of, bucket_start
from iss_simulator.orbit import PERIOD, Night, Orbit
from iss_simulator.truth import TrueEvent

BETA_ITEM = "USLAB000040"
ARRAYS = {
    "2A": ("P4000001", "P4000002"),
    "4A": ("P4000004", "P4000005"),
    "4B": ("P6000001", "P6000002"),
    "2B": ("P6000004", "P6000005"),
    "1A": ("S4000001", "S4000002"),
    "3A": ("S4000004", "S4000005"),
    "3B": ("S6000001", "S6000002"),
    "1B": ("S6000004", "S6000005"),
}
"""Of each array the items of its voltage and of its current."""
NIGHT_ITEM = ARRAYS["4B"][0]

_NEVER_TURNED_AWAY = ("4B", "1A")
_SAMPLES_A_MINUTE = 6
_SAMPLE_S = 10
_QUANTUM_V = 0.0513
_FLICKER = (0, 0, 0, 0, 0, 0, -1, 1)
_FLICKER_CHANCE = 0.41
_FULL_V = 159.7
_SHADED_SHARE = 0.35
_TURNED_AWAY_SHARE = 0.1
_DARK_SLOPE_S = 15.0
_LOAD_PERIOD_S = 13_300.0
_SNAPSHOT_MINUTES = 10
_DENSER = 3
_by_time = attrgetter("ts", "item")


@dataclass(frozen=True, slots=True)
class _Array:
    """One array with its battery; volts and amperes."""

    name: str
    number: int
    battery_v: float
    charging_v: float
    charged_after: float
    delay_s: float
    load_a: float
    load_phase: float


class PowerSystem:
    """Made minute by minute, each from its own seed; the same of an item whichever others there are."""

    def __init__(self, seed: int, items: Collection[str]) -> None:
        """`items` are those that the station has; of them, the power system speaks of its own."""
        self._seed = seed
        self._orbit = Orbit(seed)
        self._night = lru_cache(maxsize=64)(self._orbit.night)
        self._day = lru_cache(maxsize=512)(self._make_day)
        self._volts = lru_cache(maxsize=64)(self._make_volts)
        self._arrays = [_array(seed, number, name) for number, name in enumerate(ARRAYS)]
        self._array_of = {item: array for array in self._arrays for item in ARRAYS[array.name]}
        own = {BETA_ITEM, *(item for pair in ARRAYS.values() for item in pair)}
        self.items = frozenset(own.intersection(items))

    @property
    def rate(self) -> float:
        """Updates a second of all its items."""
        volts = sum(ARRAYS[array.name][0] in self.items for array in self._arrays)
        amperes = sum(ARRAYS[array.name][1] in self.items for array in self._arrays)
        return (volts * _FLICKER_CHANCE + amperes) / _SAMPLE_S + (BETA_ITEM in self.items) / 60

    def updates(self, bucket: int) -> list[Update]:
        """All updates of one minute, in order of time."""
        return sorted((update for item in self.items for update in self._of(item, bucket)), key=_by_time)

    def thinned(self, bucket: int, keep_one_in: int, is_back: bool = False) -> list[Update]:
        """A sparse, true part of `updates`: all around sunset and sunrise, and when the signal `is_back`.

        Of the rest some more than of other channels, for it tells of day and night only as a whole.
        """
        if is_back or self._sun_rises_or_sets(bucket):
            return self.updates(bucket)
        keep_one_in = max(1, keep_one_in // _DENSER)
        some = sorted(self.items)[bucket % keep_one_in :: keep_one_in]
        return sorted(filter(None, (next(self._of(item, bucket), None) for item in some)), key=_by_time)

    def snapshot(self, at: datetime) -> Iterator[Update]:
        """The last update of each item before a moment."""
        bucket = bucket_of(at)
        for item in self.items:
            for earlier in range(bucket, bucket - _SNAPSHOT_MINUTES, -1):
                before = [update for update in self._of(item, earlier) if update.ts < at]
                if before:
                    yield before[-1]
                    break

    def truth_between(self, since: datetime, until: datetime) -> list[TrueEvent]:
        """The nights that begin from `since` on and before `until`."""
        if NIGHT_ITEM not in self.items:
            return []
        return [
            TrueEvent(
                "orbital_night",
                NIGHT_ITEM,
                night.sunset,
                night.sunrise,
                facts={
                    "beta_angle_deg": night.beta_deg,
                    "orbital_period_seconds": PERIOD.total_seconds(),
                },
            )
            for night in self._orbit.nights(since, until)
        ]

    def _of(self, item: str, bucket: int) -> Iterator[Update]:
        start = bucket_start(bucket)
        if item == BETA_ITEM:
            yield Update(item, start + sample_phase(item), f"{self._orbit.beta_deg(start):.6g}")
            return
        array = self._array_of[item]
        if item == ARRAYS[array.name][1]:
            random = self._chance(item, bucket)
            for at in self._moments(item, bucket):
                yield Update(item, at, f"{self._amperes(array, at, random):.6g}")
            return
        before = self._volts(item, bucket - 1)[-1][1]
        for at, volts in self._volts(item, bucket):
            if volts != before:
                yield Update(item, at, volts)
            before = volts

    def _moments(self, item: str, bucket: int) -> Iterator[datetime]:
        """The moments of a minute at which an item is sampled."""
        first = (
            bucket_start(bucket) + timedelta(seconds=crc32(item.encode()) % _SAMPLE_S) + sample_phase(item)
        )
        return (first + timedelta(seconds=_SAMPLE_S * number) for number in range(_SAMPLES_A_MINUTE))

    def _chance(self, item: str, bucket: int) -> Random:
        return Random(crc32(f"{self._seed} {item}".encode()) * 1_000_003 + bucket)

    def _make_volts(self, item: str, bucket: int) -> list[tuple[datetime, str]]:
        array, random = self._array_of[item], self._chance(item, bucket)
        samples: list[tuple[datetime, str]] = []
        for at in self._moments(item, bucket):
            level = self._level(array, at)
            if level == _FULL_V:
                level += random.gauss(0, 0.15)
            steps = round(level / _QUANTUM_V) + random.choice(_FLICKER)
            samples.append((at, f"{steps * _QUANTUM_V:.6g}"))
        return samples

    def _amperes(self, array: _Array, at: datetime, random: Random) -> float:
        """What the channel draws; by night the same power takes more of it."""
        angle = 2 * math.pi * (at.timestamp() / _LOAD_PERIOD_S) + array.load_phase
        load = array.load_a + 5 * math.sin(angle) + random.gauss(0, 0.8)
        return -load * _FULL_V / min(self._level(array, at), _FULL_V)

    def _level(self, array: _Array, at: datetime) -> float:
        """The voltage of an array's channel without its flicker."""
        number = self._orbit.number(at)
        night = self._night(number)
        late = timedelta(seconds=array.delay_s)
        if night is not None and night.sunset + late <= at < night.sunrise + late:
            return array.battery_v
        if night is not None and at >= night.sunrise:
            number += 1
        day = self._day(array.number, number)
        return day.level(array, at)

    def _make_day(self, array_number: int, number: int) -> _Day:
        array = self._arrays[array_number]
        random = Random(f"{self._seed} day {array.name} {number}")
        before, after = self._night(number - 1), self._night(number)
        noon = self._orbit.noon(number)
        begin = before.sunrise if before else noon - PERIOD / 2
        end = after.sunset if after else noon + PERIOD / 2
        common = Random(f"{self._seed} day {number}")
        turned_away = common.random() < _TURNED_AWAY_SHARE
        away_from = begin + (end - begin) * common.uniform(0.3, 0.6)
        away_until = away_from + timedelta(minutes=common.uniform(6, 18))
        # The arrays shade each other one after the other.
        shade_from = begin + (end - begin) * (0.15 + 0.07 * array_number + random.uniform(0, 0.03))
        shade_until = shade_from + timedelta(minutes=random.uniform(2, 9))
        is_shaded = random.random() < _SHADED_SHARE
        shades: list[tuple[datetime, datetime]] = []
        if turned_away and array.name not in _NEVER_TURNED_AWAY:
            shades.append((away_from, away_until))
        elif is_shaded and not turned_away:
            shades.append((shade_from, shade_until))
        # Without a night, nothing has to be charged.
        charged_after = 0.0 if before is None else array.charged_after + random.uniform(-0.1, 0.1)
        return _Day(begin, end, charged_after, tuple(shades))

    def _sun_rises_or_sets(self, bucket: int) -> bool:
        start = bucket_start(bucket)
        night: Night | None = self._night(self._orbit.number(start))
        if night is None:
            return False
        margin = timedelta(minutes=1)
        return any(moment - margin <= start <= moment + margin for moment in (night.sunset, night.sunrise))


@dataclass(frozen=True, slots=True)
class _Day:
    """Sunrise to sunset on one array: when its battery is full, as a share of the day, and its shades."""

    begin: datetime
    end: datetime
    charged_after: float
    shades: tuple[tuple[datetime, datetime], ...]

    def level(self, array: _Array, at: datetime) -> float:
        """Volts at a moment of the day."""
        if any(start <= at < end for start, end in self.shades):
            return array.battery_v + 0.08
        share = (at - self.begin) / (self.end - self.begin)
        return _FULL_V if share >= self.charged_after else array.charging_v


def _array(seed: int, number: int, name: str) -> _Array:
    random = Random(f"{seed} array {name}")
    return _Array(
        name=name,
        number=number,
        battery_v=random.uniform(151.14, 151.32),
        charging_v=random.uniform(151.62, 151.85),
        charged_after=random.uniform(0.2, 1.25),
        delay_s=random.uniform(0, _DARK_SLOPE_S),
        load_a=random.uniform(38, 68),
        load_phase=random.uniform(0, 2 * math.pi),
    )
