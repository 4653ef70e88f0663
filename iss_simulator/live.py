"""The simulated station on the air: publishes what is due, and writes down what really happens."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

from iss_simulator.station import Station
from iss_simulator.switchboard import Switchboard

_STEP_S = 0.01
_TRUTH_EVERY = timedelta(seconds=1)


class LiveStation:
    """Feeds a switchboard from a station's updates as its clock reaches them, beginning at `start`.

    The truth file gets one line of JSON an event once its end has come; events that ended before `start`
    come first. Lines that it has already are not repeated.
    """

    def __init__(
        self,
        switchboard: Switchboard,
        station: Station,
        start: datetime,
        truth_file: Path | None,
        clock: Callable[[], datetime],
    ) -> None:
        self._switchboard = switchboard
        self._station = station
        self._start = start
        self._truth_file = truth_file
        self._clock = clock
        self._written = _lines_of(truth_file)
        for update in station.snapshot(start):
            switchboard.remember(update.item, update.fields())

    async def run(self) -> None:
        """Publish for ever."""
        truth_due = self._start
        for update in self._station.updates(start=self._start):
            while (now := self._clock()) < update.ts:
                if self._truth_file is not None and now >= truth_due:
                    self._write_truth(self._truth_file, now)
                    truth_due = now + _TRUTH_EVERY
                await asyncio.sleep(min(_STEP_S, (update.ts - now).total_seconds()))
            self._switchboard.publish(update.item, update.fields())

    def _write_truth(self, path: Path, now: datetime) -> None:
        lines = [event.to_json() for event in self._station.truth_until(now) if event.ended_at <= now]
        with path.open("a", encoding="utf-8") as file:
            for line in lines:
                if line not in self._written:
                    file.write(line + "\n")
                    self._written.add(line)


def _lines_of(path: Path | None) -> set[str]:
    """What an earlier run has written already."""
    return set(path.read_text(encoding="utf-8").splitlines()) if path and path.exists() else set()
