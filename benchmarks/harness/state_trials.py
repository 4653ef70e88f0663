"""How soon changes of a state and of the link are events, in the whole stack."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

import psycopg

from benchmarks.harness.event_log import Seen
from benchmarks.harness.own_stack import OwnStack
from benchmarks.harness.report import progress
from iss_simulator.feed import CLOCK_ITEM, GOOD
from iss_simulator.signal_loss import LOST
from peebot_dagster.states import CALM

MODE, OXYGEN = "USLAB000012", "NODE3000010"
STATES = (MODE, OXYGEN)
"""The attitude control mode and the oxygen generator's state, beside channels that speak all the time."""

_VALUES = {MODE: (4, 7), OXYGEN: (2, 1)}
_HOLD_S = 60.0
"""So long the oxygen generator's state has to hold before it counts."""
_LEAST_LOSS_S = 5.0
"""So long the signal is away before it is a loss."""
_PAUSE_S = (12.0, 18.0)
"""Longer than what a change may be late by after a loss of signal: this one is in sight."""
_TRIAL_S = 150.0

HOPS = ("mode_to_event_s", "oxygen_to_event_s", "loss_to_event_s")
"""From the commit of the reading; from the moment at which, by its stamp, the state has held for a minute;
from that at which the announced loss, by its begin, has lasted for 5 s, or from its commit if it is later."""


class Source(Protocol):
    """What publishes (item, event time in UTC, value); when that was (seconds since 1970)."""

    def send(self, updates: Iterable[tuple[str, datetime, str]]) -> float: ...


@dataclass(frozen=True)
class StateTrial:
    """The seconds from what decides to the event, by hop."""

    delays: Mapping[str, float]


def state_trials(
    stack: OwnStack, source: Source, seen: Seen, channels: Mapping[str, int], count: int
) -> list[StateTrial]:
    """So many changes of each kind, one after the other; MendableError when one is no event in time."""
    chance = random.Random()  # noqa: S311
    trials = []
    _send_states(source, 0)
    # Else the first change is the second one within a minute, of which each next look costs a rest.
    time.sleep((CALM + timedelta(seconds=5)).total_seconds())
    for index in range(1, count + 1):
        time.sleep(chance.uniform(*_PAUSE_S))
        trial = _trial(stack, source, seen, channels, index)
        told = ", ".join(f"{hop} {delay:.2f}" for hop, delay in trial.delays.items())
        progress(f"change {index} of {count}: {told}")
        trials.append(trial)
    return trials


def _trial(
    stack: OwnStack, source: Source, seen: Seen, channels: Mapping[str, int], index: int
) -> StateTrial:
    mode_row = _next(seen.readings[channels[MODE]])
    mode_event, oxygen_event = (
        _next_event(seen, "attitude_mode_change"),
        _next_event(seen, "oxygen_state_change"),
    )
    changed_s = _send_states(source, index)
    mode = _when(stack, mode_event) - _when(stack, mode_row)
    oxygen = _when(stack, oxygen_event) - changed_s - _HOLD_S

    lost, loss_event = _next(seen.changes), _next_event(seen, "signal_loss")
    now = datetime.now(UTC)
    source.send([(CLOCK_ITEM, now, LOST)])
    loss_at, lost_at = _when(stack, loss_event), _when(stack, lost)
    loss = loss_at - max(lost_at, _loss_began_s(stack) + _LEAST_LOSS_S)
    heard = _next(seen.changes)
    source.send([(CLOCK_ITEM, now, GOOD)])
    _when(stack, heard)
    return StateTrial(dict(zip(HOPS, (mode, oxygen, loss), strict=True)))


def _send_states(source: Source, index: int) -> float:
    """The stamp of the changes (seconds since 1970)."""
    now = datetime.now(UTC)
    source.send([(item, now, str(_VALUES[item][index % 2])) for item in STATES])
    return now.timestamp()


def _loss_began_s(stack: OwnStack) -> float:
    with psycopg.connect(stack.database_url) as connection:
        ((began_at,),) = connection.execute(
            "SELECT max(started_at) FROM link_interval WHERE state = 'LOS'"
        ).fetchall()
    return float(began_at.timestamp())


_Moment = Callable[[], float | None]


def _next(moments: list[float]) -> _Moment:
    before = len(moments)
    return lambda: moments[before] if len(moments) > before else None


def _next_event(seen: Seen, event_type: str) -> _Moment:
    before = set(seen.events[event_type])
    return lambda: min(
        (at for event, at in list(seen.events[event_type].items()) if event not in before), default=None
    )


def _when(stack: OwnStack, moment: _Moment) -> float:
    stack.wait_for(lambda: moment() is not None, "a change of a state is an event", _TRIAL_S)
    at = moment()
    assert at is not None  # noqa: S101  it has been waited for
    return at
