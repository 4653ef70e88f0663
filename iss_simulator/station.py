"""The simulated station: everything it says since a moment, and the truth about it."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from heapq import merge
from itertools import chain
from operator import attrgetter

from iss_simulator.agenda import Rehearsal
from iss_simulator.airlock import Airlock
from iss_simulator.attitude import Attitude
from iss_simulator.catalogue import Channel, packaged_channels
from iss_simulator.conditions import MEASURED, Conditions
from iss_simulator.feed import CLOCK_ITEM, GOOD, YEAR_ITEM, Update, clock_update, sample_phase, year_update
from iss_simulator.minutes import bucket_of, bucket_start
from iss_simulator.other_channels import OtherChannels
from iss_simulator.oxygen_generator import OxygenGenerator
from iss_simulator.power import PowerSystem
from iss_simulator.signal_loss import LOST, SignalLoss, heard
from iss_simulator.story import PacedPart, Story
from iss_simulator.truth import TrueEvent
from iss_simulator.urine_tank import UrineTank
from iss_simulator.water_system import WaterSystem

FOR_EVER = datetime(9999, 1, 1, tzinfo=UTC)

_TICKS_PER_S = 1
_THIN_TO_ONE_IN_MINUTES = 10
_moment = attrgetter("ts")


class Station:
    """Deterministic in all its arguments; every method may be called in any order and again.

    `rate` is the nominal total of all channels in updates a second. Two stations that differ only in
    `rehearsal` agree on all that happens before it begins.
    """

    def __init__(
        self,
        seed: int,
        since: datetime,
        channels: Sequence[Channel] | None = None,
        rate: float = 70.0,
        rehearsal: Rehearsal | None = None,
        conditions: Conditions = MEASURED,
    ) -> None:
        quiet = (rehearsal.begins_at, rehearsal.quiet_until) if rehearsal else None
        self._since = since
        self._signal_loss = SignalLoss(seed, since, quiet, conditions.losses)
        self._stories: tuple[Story, ...] = (
            UrineTank(seed, since, self._signal_loss, rehearsal, conditions),
            WaterSystem(seed, since),
            Airlock(seed, since),
            Attitude(seed, since),
            OxygenGenerator(seed, since),
        )
        self._story_items = frozenset(item for story in self._stories for item in story.updates)
        channels = channels or packaged_channels()
        power = PowerSystem(seed, {channel.item for channel in channels})
        own = {CLOCK_ITEM, YEAR_ITEM, *self._story_items, *power.items}
        others = [channel for channel in channels if channel.item not in own]
        rest = max(0.0, rate - _TICKS_PER_S - power.rate)
        self._paced: tuple[PacedPart, ...] = (power, OtherChannels(seed, others, rest))
        self._told_until = since
        self.items = (*sorted(own), *sorted(channel.item for channel in others))

    def updates(
        self, until: datetime = FOR_EVER, items: Collection[str] | None = None, start: datetime | None = None
    ) -> Iterator[Update]:
        """What the ground hears from `start` (default: since the beginning) to `until`, in order of time."""
        begin = start or self._since
        gap = self._signal_loss.at(begin)
        first = bucket_of(gap.started_at if gap else begin)
        spoken = self._spoken(first, until, items)
        for update in heard(spoken, self._signal_loss.after(bucket_start(first)), until):
            if update.ts >= until:
                return
            if update.ts >= begin and (items is None or update.item in items):
                yield update

    def history(self, until: datetime, thin: bool = True) -> Iterator[Update]:
        """What the ground heard before `until`.

        Thinned, all that belongs to a story is complete, the clock ticks once a minute, and each other
        channel has about one of its true updates in ten minutes; the power system's are denser, and complete
        around sunset and sunrise.
        """
        if not thin:
            yield from self.updates(until)
            return
        details = _once_a_minute(self.updates(until, {CLOCK_ITEM, *self._story_items}))
        yield from merge(details, self._thinned(until), key=_moment)

    def snapshot(self, at: datetime) -> Iterator[Update]:
        """The last thing that the ground heard of each channel before a moment, with its old time."""
        gap = self._signal_loss.at(at)
        moment = gap.started_at if gap else at
        self._told_until = max(self._told_until, moment)
        for story in self._stories:
            story.tell(moment)
            for updates in story.updates.values():
                yield updates[max(0, bisect_left(updates, moment, key=_moment) - 1)]
        for part in self._paced:
            yield from part.snapshot(moment)
        yield year_update(moment)
        yield clock_update(moment, LOST if gap and gap.is_announced else GOOD)

    @property
    def truth(self) -> list[TrueEvent]:
        """Events that began before the latest moment asked for, in order of time."""
        return self.truth_until(self._told_until)

    def truth_until(self, until: datetime) -> list[TrueEvent]:
        """All events that began before a moment, in order of time."""
        events = [
            TrueEvent("outage" if gap.is_outage else "los", CLOCK_ITEM, gap.started_at, gap.ended_at)
            for gap in self._signal_loss.between(self._since, until)
        ]
        self._told_until = max(self._told_until, until)
        for story in self._stories:
            story.tell(until)
            events += (self._as_heard(event) for event in story.truth if event.started_at < until)
        for part in self._paced:
            events += map(self._as_heard, part.truth_between(self._since, until))
        return sorted(events, key=attrgetter("started_at"))

    def _as_heard(self, event: TrueEvent) -> TrueEvent:
        """The event, marked where the signal was lost for some of its time."""
        ended_at = event.ended_at + timedelta(seconds=1)
        is_masked = event.masked or bool(self._signal_loss.between(event.started_at, ended_at))
        return replace(event, masked=True) if is_masked else event

    def _spoken(self, first: int, until: datetime, items: Collection[str] | None) -> Iterator[Update]:
        """All that the station says from a minute on, heard or not."""
        paced = [part for part in self._paced if items is None or not set(part.items).isdisjoint(items)]
        wants_ticks = items is None or CLOCK_ITEM in items
        stories = [s for s in self._stories if items is None or not s.updates.keys().isdisjoint(items)]
        bucket = first
        while bucket_start(bucket) < until:
            start, end = bucket_start(bucket), bucket_start(bucket + 1)
            self._told_until = max(self._told_until, end)
            updates = [year_update(start)]
            for story in stories:
                story.tell(end)
                for told in story.updates.values():
                    updates += _part(told, start, end)
            if wants_ticks:
                first_tick = start + sample_phase(CLOCK_ITEM)
                updates += (clock_update(first_tick + timedelta(seconds=second)) for second in range(60))
            for part in paced:
                updates += part.updates(bucket)
            yield from sorted(updates, key=_moment)
            bucket += 1

    def _thinned(self, until: datetime) -> Iterator[Update]:
        ends = [bucket_of(gap.ended_at) for gap in self._signal_loss.between(self._since, until)]
        back = {end + later for end in ends for later in (0, 1)}
        for bucket in range(bucket_of(self._since), bucket_of(until) + 1):
            parts = (part.thinned(bucket, _THIN_TO_ONE_IN_MINUTES, bucket in back) for part in self._paced)
            for update in sorted(chain.from_iterable(parts), key=_moment):
                if self._since <= update.ts < until and self._signal_loss.at(update.ts) is None:
                    yield update


def _part(updates: list[Update], start: datetime, end: datetime) -> list[Update]:
    return updates[bisect_left(updates, start, key=_moment) : bisect_left(updates, end, key=_moment)]


def _once_a_minute(updates: Iterator[Update]) -> Iterator[Update]:
    """Drop all good ticks of TIME_000001 but the first of each minute."""
    minute = None
    for update in updates:
        if update.item == CLOCK_ITEM and update.status_class == GOOD:
            if bucket_of(update.ts) == minute:
                continue
            minute = bucket_of(update.ts)
        yield update
