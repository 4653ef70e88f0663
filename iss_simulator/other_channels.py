"""All channels without a story of their own: plausible values at a nominal total rate, open at any time."""

# ruff: noqa: S311 - seeded chance, nothing secret

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import attrgetter
from random import Random
from zlib import crc32

from iss_simulator.catalogue import Channel
from iss_simulator.feed import Update, sample_phase
from iss_simulator.minutes import bucket_of, bucket_start
from iss_simulator.truth import TrueEvent

_SECONDS_PER_BUCKET = 60
_ORBIT_S = 5_560.0
_STATE_BLOCK_MINUTES = 360
_STATE_CHANGE_SHARE = 0.6
_BUSIEST_SHARE = 0.9
_by_time = attrgetter("ts", "item")


@dataclass(frozen=True, slots=True)
class Quantity:
    """A measured value that swings with the orbit; `chance` of an update per slot of the sampling grid."""

    item: str
    seed: int
    mean: float
    swing: float
    noise: float
    phase: float
    chance: float
    slots_per_s: int

    def updates(self, bucket: int) -> Iterator[Update]:
        """The updates of one minute, in order of time."""
        random = Random(self.seed * 1_000_003 + bucket)
        start = bucket_start(bucket) + sample_phase(self.item) / self.slots_per_s
        slots = _SECONDS_PER_BUCKET * self.slots_per_s
        log_miss = math.log1p(-self.chance) if self.chance < 1 else -math.inf
        slot = -1
        while True:
            slot += 1 + int(math.log(1 - random.random()) / log_miss)
            if slot >= slots:
                return
            seconds = slot / self.slots_per_s
            angle = 2 * math.pi * (bucket * 60 + seconds) / _ORBIT_S + self.phase
            value = self.mean + self.swing * math.sin(angle) + random.gauss(0, self.noise)
            yield Update(self.item, start + timedelta(seconds=seconds), _as_single(value))


@dataclass(frozen=True, slots=True)
class Switch:
    """A state that changes a few times a day; every six hours it may take another of its states."""

    item: str
    seed: int
    states: tuple[str, ...]

    def updates(self, bucket: int) -> Iterator[Update]:
        """The change that falls in this minute, if there is one."""
        block = bucket // _STATE_BLOCK_MINUTES
        random = Random(self.seed * 1_000_003 + block)
        changes = random.random() < _STATE_CHANGE_SHARE
        minute = random.randrange(_STATE_BLOCK_MINUTES)
        second = random.randrange(_SECONDS_PER_BUCKET)
        if changes and bucket % _STATE_BLOCK_MINUTES == minute:
            ts = bucket_start(bucket) + timedelta(seconds=second) + sample_phase(self.item)
            yield Update(self.item, ts, self.states[block % len(self.states)])

    def initial(self, at: datetime) -> Update:
        """A value for the snapshot: the last change, or a state that has held for a long time."""
        bucket = bucket_of(at)
        for earlier in range(bucket, bucket - 2 * _STATE_BLOCK_MINUTES, -1):
            for update in self.updates(earlier):
                if update.ts < at:
                    return update
        return Update(self.item, bucket_start(bucket - 2 * _STATE_BLOCK_MINUTES), self.states[0])


class OtherChannels:
    """The channels' updates; `rate` is the nominal total in updates a second."""

    def __init__(self, seed: int, channels: Sequence[Channel], rate: float) -> None:
        self.items = frozenset(channel.item for channel in channels)
        measured = [channel for channel in channels if channel.kind != "state"]
        slots_per_s = max(1, math.ceil(rate / (0.6 * len(measured)))) if measured else 1
        chances = _chances(seed, measured, rate / slots_per_s)
        self._quantities = [
            _quantity(seed, channel.item, chance, slots_per_s)
            for channel, chance in zip(measured, chances, strict=True)
        ]
        self._switches = [
            Switch(channel.item, _seed(seed, channel.item), channel.states or ("0", "1"))
            for channel in channels
            if channel.kind == "state"
        ]

    def updates(self, bucket: int) -> list[Update]:
        """All updates of one minute, in order of time."""
        sources: Iterable[Quantity | Switch] = (*self._quantities, *self._switches)
        return sorted((update for source in sources for update in source.updates(bucket)), key=_by_time)

    def thinned(self, bucket: int, keep_one_in: int, is_back: bool = False) -> list[Update]:
        """A sparse, true part of `updates`: one a channel in `keep_one_in` minutes, and all state changes."""
        some = [
            next(source.updates(bucket), None)
            for source in self._quantities[bucket % keep_one_in :: keep_one_in]
        ]
        changes = [update for switch in self._switches for update in switch.updates(bucket)]
        return sorted((*changes, *filter(None, some)), key=_by_time)

    def snapshot(self, at: datetime) -> Iterator[Update]:
        """The last update of each channel before a moment; very old ones are guessed."""
        bucket = bucket_of(at)
        for source in self._quantities:
            for earlier in range(bucket, bucket - 60, -1):
                before = [update for update in source.updates(earlier) if update.ts < at]
                if before:
                    yield before[-1]
                    break
        for switch in self._switches:
            yield switch.initial(at)

    def truth_between(self, since: datetime, until: datetime) -> list[TrueEvent]:
        """They have no story."""
        return []


def _chances(seed: int, channels: Sequence[Channel], per_slot: float) -> list[float]:
    """Chances of an update per slot: a few channels are busy, most are calm; their sum is `per_slot`."""
    weights = [Random(_seed(seed, channel.item) + 1).lognormvariate(0, 1.2) for channel in channels]
    low, high = 0.0, per_slot / max(min(weights, default=1.0), 1e-9) + 1.0
    for _ in range(60):
        factor = (low + high) / 2
        if sum(min(_BUSIEST_SHARE, factor * weight) for weight in weights) < per_slot:
            low = factor
        else:
            high = factor
    return [max(1e-6, min(_BUSIEST_SHARE, high * weight)) for weight in weights]


def _quantity(seed: int, item: str, chance: float, slots_per_s: int) -> Quantity:
    own = _seed(seed, item)
    random = Random(own)
    mean = random.choice((5.0, 25.0, 120.0, 760.0)) * random.uniform(0.5, 1.5)
    swing = mean * random.uniform(0.0, 0.3)
    return Quantity(item, own, mean, swing, mean * 0.002, random.uniform(0, 6.28), chance, slots_per_s)


def _seed(seed: int, item: str) -> int:
    return crc32(f"{seed} {item}".encode())


def _as_single(value: float) -> str:
    """The station computes in single precision, and the feed prints all of it."""
    return f"{struct.unpack('f', struct.pack('f', value))[0]:.15g}"
