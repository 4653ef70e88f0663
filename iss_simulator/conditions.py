"""How hard a simulated station makes it for a listener."""

from __future__ import annotations

from dataclasses import dataclass

from iss_simulator.level_sensor import DITHER_HALF_WIDTH


@dataclass(frozen=True, slots=True)
class Conditions:
    """The defaults are the real station's.

    `dither_half_width` (%, below 0.5): within this distance of a truncation border the tank's reported level
    toggles. `losses` (above 0): how many times as often as measured the signal is lost. `crowded`: the tank's
    events follow each other after 30 to 200 s instead of 200 s and more; transfers are made while the tank is
    drained, too, begin at 3 %, and half of them trickle, at 10 to 40 s for each percent.
    """

    dither_half_width: float = DITHER_HALF_WIDTH
    losses: float = 1.0
    crowded: bool = False


MEASURED = Conditions()
