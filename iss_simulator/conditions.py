"""How hard a simulated station makes it for a listener."""

from __future__ import annotations

from dataclasses import dataclass

from iss_simulator.level_sensor import DITHER_HALF_WIDTH


@dataclass(frozen=True, slots=True)
class Conditions:
    """The defaults are the real station's.

    `dither_half_width` (%, below 0.5): within this distance of a truncation border the tank's reported level
    toggles. `losses` (above 0): how many times as often as measured the signal is lost.
    """

    dither_half_width: float = DITHER_HALF_WIDTH
    losses: float = 1.0


MEASURED = Conditions()
