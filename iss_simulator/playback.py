"""Plays a recording to whoever listens, at any speed, so that a reader that dies misses nothing."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice

from ingest_daemon.tlcp import Values
from iss_simulator.feed import CLOCK_ITEM, YEAR_ITEM, clock_update, feed_fields, year_update
from iss_simulator.recording import Recording
from iss_simulator.session import Session
from iss_simulator.switchboard import Switchboard

_STEP_S = 0.02
_CUES_PER_STEP = 1_000
_UNSENT_LIMIT = 10_000
_YEAR_EVERY = timedelta(hours=1)
END_AFTER = timedelta(seconds=1)
"""Playback time from the newest row to the tick of TIME_000001 that ends a recording."""


@dataclass(frozen=True, slots=True)
class Cue:
    """What is sent, and when it is due on the playback clock."""

    due: datetime
    item: str
    fields: Values


def tick_interval(speed: float) -> timedelta:
    """Playback time between two ticks of TIME_000001.

    About 5 ticks a real second, but at least one in 60 s of playback; beyond 1200-fold speed 20 a second.
    """
    return timedelta(seconds=max(1.0, min(0.2 * speed, 60.0), 0.05 * speed))


def cues(recording: Recording, tick_every: timedelta) -> Iterator[Cue]:
    """The rows in the file's order, with the ticks of the station's clock (always AOS) between them.

    The last cue is a tick that is newer than all before it: a reader that knows it has heard everything,
    whatever the last rows are worth.
    """
    now: datetime | None = None
    tick_due = year_due = now
    for row in recording.rows():
        now = row.ts if now is None else max(now, row.ts)
        tick_due = tick_due or now
        year_due = year_due or now
        while tick_due <= now:
            yield Cue(tick_due, CLOCK_ITEM, clock_update(tick_due).fields())
            if tick_due >= year_due:
                yield Cue(tick_due, YEAR_ITEM, year_update(tick_due).fields())
                year_due = tick_due + _YEAR_EVERY
            tick_due += tick_every
        yield Cue(now, row.item, feed_fields(row.timestamp, row.value))
    if now is not None:
        yield Cue(now + END_AFTER, CLOCK_ITEM, clock_update(now + END_AFTER).fields())


class Playback:
    """One run over a recording: waits for a subscriber, pauses without one, goes back for a new session.

    `speed` is playback seconds per real second. When a session was lost and a new one comes, playback goes
    back to where it was `rewind_s` real seconds before the loss: at-least-once delivery, for readers that
    ignore what they know.
    """

    def __init__(
        self, switchboard: Switchboard, recording: Recording, speed: float, rewind_s: float = 30.0
    ) -> None:
        self.finished = asyncio.Event()
        self._switchboard = switchboard
        self._recording = recording
        self._speed = speed
        self._rewind_s = rewind_s
        self._cues: Iterator[Cue] = iter(())
        self._next: Cue | None = None
        self._played = 0
        self._marks: deque[tuple[float, int]] = deque()
        self._anchor: tuple[float, datetime] | None = None
        self._known: dict[str, Session] = {}

    async def run(self) -> None:
        """Play until the task is cancelled; `finished` is set once the last cue was handed to a socket."""
        clock = asyncio.get_running_loop().time
        self._seek(0)
        while True:
            if not self._switchboard.audience():
                await self._until_somebody_listens()
            self._make_up_for_losses()
            if self._unsent() > _UNSENT_LIMIT:
                self._anchor = None
            elif self._next is not None:
                self._mark(clock())
                if self._play(self._target(self._next, clock())):
                    await asyncio.sleep(0)
                    continue
            elif self._unsent() == 0:
                self.finished.set()
            await asyncio.sleep(_STEP_S)

    def _target(self, cue: Cue, now: float) -> datetime:
        """How far the playback clock has come; it starts (again) at the next cue after a pause."""
        if self._anchor is None:
            self._anchor = (now, cue.due)
        began, began_at = self._anchor
        return began_at + timedelta(seconds=(now - began) * self._speed)

    def _play(self, target: datetime) -> bool:
        """Publish what is due, at most a step's worth; True if more is due."""
        for _ in range(_CUES_PER_STEP):
            if self._next is None or self._next.due > target:
                return False
            self._switchboard.publish(self._next.item, self._next.fields)
            self._played += 1
            self._next = next(self._cues, None)
        return True

    async def _until_somebody_listens(self) -> None:
        self._anchor = None
        while not self._switchboard.audience():
            self._switchboard.session_changed.clear()
            await self._switchboard.session_changed.wait()

    def _make_up_for_losses(self) -> None:
        """If a session is new while an older one was lost, go back to before the loss."""
        audience = {session.identity: session for session in self._switchboard.audience()}
        newcomers = audience.keys() - self._known.keys()
        if not newcomers:
            return
        lost = [session for session in self._known.values() if session.unbound_at is not None]
        self._known = {
            identity: session
            for identity, session in {**self._known, **audience}.items()
            if session.unbound_at is None
        }
        if lost:
            self._go_back(min(session.unbound_at or 0.0 for session in lost) - self._rewind_s)

    def _go_back(self, moment: float) -> None:
        target = self._marks[0][1] if self._marks else 0
        while self._marks and self._marks[-1][0] > moment:
            self._marks.pop()
        if self._marks:
            target = self._marks[-1][1]
        self._seek(target)

    def _mark(self, now: float) -> None:
        """Remember where playback is, for as long as a loss may send it back."""
        self._marks.append((now, self._played))
        while len(self._marks) > 1 and self._marks[1][0] < now - 2 * self._rewind_s - 60:
            self._marks.popleft()

    def _seek(self, played: int) -> None:
        self._cues = islice(cues(self._recording, tick_interval(self._speed)), played, None)
        self._next = next(self._cues, None)
        self._played = played
        self._anchor = None

    def _unsent(self) -> int:
        return max((session.log.unsent for session in self._switchboard.audience()), default=0)
