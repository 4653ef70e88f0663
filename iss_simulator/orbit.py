"""Where the Sun stands for the station: sunset and sunrise of each orbit, and the beta angle."""

# ruff: noqa: S311 - seeded chance, nothing secret

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random

PERIOD = timedelta(minutes=92.9)
"""From noon to noon, at an altitude of 417 km."""

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_INCLINATION_DEG = 51.64
_NODE_DEG_A_DAY = -5.0
"""The plane of the orbit turns westwards, for the Earth is not round."""
_OBLIQUITY_DEG = 23.44
_SUN_DEG_A_DAY = 360 / 365.2422
_SUN_AT_EPOCH_DEG = 280.46
_EARTH_RADIUS_KM, _ORBIT_RADIUS_KM = 6378.0, 6795.0


@dataclass(frozen=True, slots=True)
class Night:
    """The station is in the Earth's shadow from sunset to sunrise (UTC), at a beta angle in degrees."""

    sunset: datetime
    sunrise: datetime
    beta_deg: float


class Orbit:
    """A circular orbit; the seed tells where its plane is and where on it the station."""

    def __init__(self, seed: int) -> None:
        random = Random(f"{seed} orbit")
        self._node_deg = random.uniform(0, 360)
        self._noon = _EPOCH + random.random() * PERIOD

    def beta_deg(self, at: datetime) -> float:
        """The angle between the Sun and the plane of the orbit, in degrees, positive to the north."""
        days = (at - _EPOCH) / timedelta(days=1)
        longitude = math.radians(_SUN_AT_EPOCH_DEG + _SUN_DEG_A_DAY * days)
        obliquity, inclination = math.radians(_OBLIQUITY_DEG), math.radians(_INCLINATION_DEG)
        declination = math.asin(math.sin(obliquity) * math.sin(longitude))
        ascension = math.atan2(math.cos(obliquity) * math.sin(longitude), math.cos(longitude))
        node = math.radians(self._node_deg + _NODE_DEG_A_DAY * days)
        sine = math.cos(declination) * math.sin(inclination) * math.sin(node - ascension)
        return math.degrees(math.asin(sine + math.sin(declination) * math.cos(inclination)))

    def number(self, at: datetime) -> int:
        """The number of the orbit, from noon to noon, that a moment falls in."""
        return (at - self._noon) // PERIOD

    def noon(self, number: int) -> datetime:
        """The begin (UTC) of an orbit, where the Sun is highest."""
        return self._noon + number * PERIOD

    def night(self, number: int) -> Night | None:
        """The night of an orbit; None at a beta angle at which the Sun does not set."""
        midnight = self.noon(number) + PERIOD / 2
        beta = self.beta_deg(midnight)
        grazing = math.sqrt(1 - (_EARTH_RADIUS_KM / _ORBIT_RADIUS_KM) ** 2) / math.cos(math.radians(beta))
        if grazing >= 1:
            return None
        half = PERIOD * (math.acos(grazing) / (2 * math.pi))
        return Night(midnight - half, midnight + half, beta)

    def nights(self, since: datetime, until: datetime) -> Iterator[Night]:
        """The nights that begin from `since` on and before `until`."""
        for number in range(self.number(since), self.number(until) + 1):
            night = self.night(number)
            if night is not None and since <= night.sunset < until:
                yield night
