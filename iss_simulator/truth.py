"""What really happened on the simulated station: the labels that a detector is judged by."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, get_args

Kind = Literal[
    "visit",
    "dribble",
    "transfer",
    "drain",
    "fast_drain",
    "reset",
    "los",
    "outage",
    "airlock_depressurisation",
    "airlock_partial_depressurisation",
    "spacewalk",
    "orbital_night",
    "attitude_mode_change",
    "station_manoeuvre",
    "gyroscope_saturation",
    "waste_tank_drain",
    "waste_tank_fill",
    "clean_tank_drain",
    "clean_tank_fill",
    "waste_water_high",
    "clean_water_low",
    "water_processor_run",
    "oxygen_state_change",
]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True, slots=True)
class TrueEvent:
    """One event; times are UTC, amounts are % of the tank.

    `started_at` and `ended_at` bound the physical event. `first_step_at`, `last_step_at` and `steps` tell
    what can be seen of a rise on the integer level once dither is taken away (a backlash of width 1): None
    and 0 where nothing rises. `masked` means that the signal was lost for some of the event's time. `facts`
    are what an event of another part of the station has; their units are in the keys, as in a detector's
    payload.
    """

    kind: Kind
    item: str
    started_at: datetime
    ended_at: datetime
    amount_percent: float = 0.0
    level_before: float = 0.0
    level_after: float = 0.0
    steps: int = 0
    first_step_at: datetime | None = None
    last_step_at: datetime | None = None
    upa_processing: bool = False
    late_step: bool = False
    masked: bool = False
    facts: Mapping[str, float | str] = field(default_factory=dict, hash=False)

    @property
    def onset(self) -> datetime:
        """The first moment (UTC) at which it can be seen."""
        return self.first_step_at or self.started_at

    def to_json(self) -> str:
        """One line of JSON; times in ISO 8601."""
        values = {name: getattr(self, name) for name in self.__slots__}
        return json.dumps({name: _plain(value) for name, value in values.items()})


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {key: _plain(part) for key, part in value.items()}
    return round(value, 3) if isinstance(value, float) else value
