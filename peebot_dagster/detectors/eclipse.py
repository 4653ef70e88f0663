"""How long is it night on a low circular orbit? Geometry of a cylindrical shadow of a round Earth.

Beta is the angle between the Sun and the plane of the orbit. Penumbra and refraction move sunset and sunrise
by about ten seconds on an orbit as low as the station's.
"""

from __future__ import annotations

import math

EARTH_RADIUS_KM = 6378.137
"""Equatorial radius (WGS 84)."""
EARTH_MU_KM3_S2 = 398_600.4418
"""Standard gravitational parameter (WGS 84)."""


def orbit_radius_km(period_s: float) -> float:
    """Radius of the circular orbit with this period in seconds, by Kepler's third law."""
    return float((EARTH_MU_KM3_S2 * (period_s / (2 * math.pi)) ** 2) ** (1 / 3))


def night_seconds(beta_deg: float, period_s: float) -> float:
    """Seconds of each orbit without the Sun; 0 where beta (degrees, either sign) is too high for a night."""
    ratio = _horizon(period_s) / math.cos(math.radians(beta_deg))
    return 0.0 if ratio >= 1.0 else period_s * math.acos(ratio) / math.pi


def beta_of_night(night_s: float, period_s: float) -> float | None:
    """The absolute value of beta (degrees) at which a night lasts this many seconds; 0 for the longest.

    None where no beta gives it: longer than the longest by more than the minute that observing may be off.
    """
    if not 0.0 < night_s <= night_seconds(0.0, period_s) + 60.0:
        return None
    cosine = _horizon(period_s) / math.cos(math.pi * night_s / period_s)
    return math.degrees(math.acos(min(1.0, cosine)))


def greatest_beta_with_night(period_s: float) -> float:
    """The absolute value of beta (degrees) from which on there is no night."""
    return math.degrees(math.acos(_horizon(period_s)))


def _horizon(period_s: float) -> float:
    """Cosine of the angle by which the edge of the shadow is off its axis, at beta 0."""
    return math.sqrt(1.0 - (EARTH_RADIUS_KM / orbit_radius_km(period_s)) ** 2)
