"""Which simulated station the demo listens to: one that soon has a visit worth showing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from itertools import count

import psycopg
from pydantic import BaseModel, ConfigDict

from iss_simulator.agenda import Rehearsal
from iss_simulator.signal_loss import SignalLoss
from iss_simulator.urine_tank import LEVEL_ITEM, UrineTank

FIRST_VISIT_AFTER_S = 20
"""Seconds after the simulator's start: the UI answers by then, so that the visit is seen from its begin."""
VISIT_EVERY_S = 360
QUIET_BEFORE = timedelta(minutes=20)
"""No visit within it: one that the policy still calls fresh would take the live visit's joke."""
_LEAST_STEPS = 3
_ON_TIME = timedelta(seconds=5)
_TRIES = 200
# The simulator starts some time after the choice: its visit must be good for any moment in between.
_LATEST_START_S = 40

_LAST_LEVEL = """
SELECT reading.value FROM telemetry_reading AS reading JOIN telemetry_channel USING (channel_id)
WHERE item_id = %s AND value IS NOT NULL ORDER BY reading.ts DESC LIMIT 1
"""


class DemoStation(BaseModel):
    """A station in the simulator's terms: the same seed and begin (UTC) tell the same story."""

    model_config = ConfigDict(frozen=True)

    seed: int
    since: datetime


def first_station(now: datetime, history: timedelta, seeds: Iterable[int]) -> DemoStation:
    """A station with this much history, beginning on the hour."""
    since = (now - history).replace(minute=0, second=0, microsecond=0)
    for station in _candidates(since, seeds):
        if _shows_well(station, now):
            return station
    raise AssertionError("no seed gives a station that shows a visit")


def next_station(now: datetime, level: float | None) -> DemoStation:
    """A station that begins now, where an earlier one has left the tank (`level` in %).

    The earlier one cannot go on: it does not know of the visits that were put on for the show, so its tank
    would stand lower than what is stored.
    """
    stations = [station for station in _candidates(now, count()) if _shows_well(station, now)]
    return min(stations, key=lambda station: abs(_level(station) - (level or 0.0)))


def last_level(database_url: str) -> float | None:
    """The tank's level (%) that was stored last."""
    with psycopg.connect(database_url) as connection:
        row = connection.execute(_LAST_LEVEL, (LEVEL_ITEM,)).fetchone()
    return None if row is None else float(row[0])


def _candidates(since: datetime, seeds: Iterable[int]) -> Iterator[DemoStation]:
    for _, seed in zip(range(_TRIES), seeds, strict=False):
        yield DemoStation(seed=seed, since=since)


def _shows_well(station: DemoStation, now: datetime) -> bool:
    """Whether the first visit is on time, of three steps or more in one go, heard, and the only news."""
    return all(
        _first_visit_is_good(station, now + timedelta(seconds=delay)) for delay in (1, _LATEST_START_S)
    )


def _first_visit_is_good(station: DemoStation, begins_at: datetime) -> bool:
    rehearsal = Rehearsal(begins_at, FIRST_VISIT_AFTER_S, VISIT_EVERY_S)
    tank = _tank(station, rehearsal)
    due = begins_at + timedelta(seconds=FIRST_VISIT_AFTER_S)
    tank.tell(due + timedelta(seconds=150))
    if any(begins_at - QUIET_BEFORE < event.started_at < begins_at for event in tank.truth):
        return False
    return any(
        event.kind == "visit"
        and abs(event.started_at - due) <= _ON_TIME
        and event.steps >= _LEAST_STEPS
        and not (event.late_step or event.masked or event.upa_processing)
        for event in tank.truth
    )


def _level(station: DemoStation) -> float:
    tank = _tank(station, Rehearsal(station.since, FIRST_VISIT_AFTER_S, VISIT_EVERY_S))
    tank.tell(station.since)
    return float(tank.levels[0].value)


def _tank(station: DemoStation, rehearsal: Rehearsal) -> UrineTank:
    quiet = (rehearsal.begins_at, rehearsal.quiet_until)
    signal_loss = SignalLoss(station.seed, station.since, quiet)
    return UrineTank(station.seed, station.since, signal_loss, rehearsal)
