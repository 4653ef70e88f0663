"""The nights of the orbit: from sunset to sunrise on the solar arrays, each 93 minutes."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from peebot_dagster.detectors.detector import DetectedEvent, Window, event_id
from peebot_dagster.detectors.eclipse import beta_of_night, night_seconds
from peebot_dagster.detectors.held_values import HeldValues, held_values
from peebot_dagster.detectors.level_readings import microseconds, moment_of
from peebot_dagster.detectors.sunlight import BREAK, FLICKER, MINUTE, SECOND, Dark, dark_stretches

PERIOD_S = 5574.0
"""92.9 min from sunset to sunset, at an altitude of 417 km; measured over nine orbits in May 2022."""

LONGEST_NIGHT = 38 * MINUTE
"""36 min at a beta angle of 0, and some margin. What is longer is another dark, as of arrays turned away."""
SHORTEST_NIGHT = 4 * MINUTE
"""Shorter ones, at beta angles near 70°, cannot be told from a shadow that passes over the arrays."""
_LEAST_SEEN = MINUTE

ORBIT = (90 * MINUTE, 96 * MINUTE)
"""From sunset to sunset."""
_UNLIKE = 240.0
_BETA_LASTS = 12 * 60 * MINUTE


@dataclass(frozen=True)
class _Night:
    dark: Dark
    is_over: bool

    @property
    def seen_whole(self) -> bool:
        return self.is_over and self.dark.begin_hidden_since is None and self.dark.end_hidden_since is None


@dataclass(frozen=True)
class OrbitDetector:
    """Reports each night of the orbit: sunset, sunrise, the orbit's period and a hint at the beta angle.

    `arrays` are the voltages of solar arrays that vote on day and night: 4B, 2B, 1A and 3B, two on each side.
    `beta_item`, the angle between the Sun and the plane of the orbit, is context: it decides nothing but the
    confidence.
    """

    arrays: tuple[str, ...] = ("P6000001", "P6000004", "S4000001", "S6000001")
    beta_item: str = "USLAB000040"

    @property
    def name(self) -> str:
        return "orbit"

    @property
    def version(self) -> str:
        return "1"

    @property
    def items(self) -> tuple[str, ...]:
        return (*self.arrays, self.beta_item)

    @property
    def event_types(self) -> tuple[str, ...]:
        return ("orbital_night",)

    @property
    def look_back(self) -> timedelta:
        """The sunset one orbit earlier, and enough before it to see it fall."""
        return timedelta(minutes=105)

    @property
    def settle(self) -> timedelta:
        """The longest night, the longest silence that leaves open whether it was one, and some margin."""
        return timedelta(microseconds=LONGEST_NIGHT + BREAK) + timedelta(minutes=4)

    @property
    def trigger_interval(self) -> timedelta:
        """A night is no news that hurries."""
        return timedelta(minutes=1)

    def detect(self, window: Window) -> list[DetectedEvent]:
        """All nights that begin in the window, sorted by start; the last one may be open."""
        watermark = microseconds(window.end)
        stretches = dark_stretches(window, self.arrays, LONGEST_NIGHT)
        nights = [night for dark in stretches if (night := _night(dark, watermark)) is not None]
        sunsets = [night.dark.begin for night in nights if night.seen_whole]
        start = microseconds(window.start)
        betas = held_values(window, self.beta_item, -90.0, 90.0)
        return [
            self._event(betas, night, _earlier(sunsets, night.dark.begin))
            for night in nights
            if night.dark.begin >= start
        ]

    def _event(self, betas: HeldValues, night: _Night, earlier: Sequence[int]) -> DetectedEvent:
        dark = night.dark
        started_at = moment_of(dark.begin)
        ended_at = None if not night.is_over else moment_of(_end(dark))
        lasted = (_end(dark) - dark.begin) / SECOND if night.seen_whole else None
        period = _period(dark, earlier)
        beta = _told_beta(betas, dark.begin)
        expected = None if beta is None else night_seconds(beta, period or PERIOD_S)
        estimate = None if lasted is None else beta_of_night(lasted, period or PERIOD_S)
        confidence, reasons = _judge(night, lasted, period, bool(earlier), expected)
        return DetectedEvent(
            event_id=event_id(self.name, self.arrays[0], started_at),
            detector=self.name,
            detector_version=self.version,
            event_type="orbital_night",
            item=self.arrays[0],
            started_at=started_at,
            ended_at=ended_at,
            state="closed" if night.is_over else "open",
            confidence=confidence,
            payload={
                "night_seconds": None if lasted is None else round(lasted, 1),
                "orbital_period_seconds": None if period is None else round(period, 1),
                "beta_angle_deg": None if beta is None else round(beta, 2),
                "beta_angle_estimate_deg": None if estimate is None else round(estimate, 1),
                "expected_night_seconds": None if expected is None else round(expected),
                "hidden_since": _iso(dark.begin_hidden_since),
                "sunrise_hidden_since": _iso(dark.end_hidden_since) if night.is_over else None,
                "reasons": reasons,
            },
        )


def _told_beta(betas: HeldValues, moment: int) -> float | None:
    """The beta angle (degrees) that was last told up to a moment, unless it was bad or long ago."""
    position = betas.position(moment)
    is_old = position < 0 or moment - int(betas.at[position]) > _BETA_LASTS
    return None if is_old else betas.holding(moment)


def _night(dark: Dark, watermark: int) -> _Night | None:
    """The stretch as a night; None for one that is too short or too long, or that is not yet sure enough."""
    known_until = dark.end_hidden_since or dark.end or watermark
    known = known_until - dark.begin
    hidden = dark.begin_hidden_since is not None or dark.end_hidden_since is not None
    if known > LONGEST_NIGHT or known < (_LEAST_SEEN if hidden else SHORTEST_NIGHT):
        return None
    # What looks like sunrise may be a flicker.
    stays_lit = dark.end is None or watermark - dark.end >= FLICKER
    return _Night(dark, dark.is_over and stays_lit)


def _end(dark: Dark) -> int:
    latest = dark.begin + LONGEST_NIGHT
    return latest if dark.end is None else min(dark.end, latest)


def _earlier(sunsets: Sequence[int], sunset: int) -> Sequence[int]:
    """The sunsets of up to one orbit before this one."""
    return sunsets[bisect_left(sunsets, sunset - ORBIT[1]) : bisect_left(sunsets, sunset)]


def _period(dark: Dark, earlier: Sequence[int]) -> float | None:
    """Seconds since the sunset one orbit before, where both were seen."""
    if dark.begin_hidden_since is not None:
        return None
    return next(((dark.begin - s) / SECOND for s in earlier if ORBIT[0] <= dark.begin - s <= ORBIT[1]), None)


def _judge(
    night: _Night, lasted: float | None, period: float | None, follows_others: bool, expected: float | None
) -> tuple[float, list[str]]:
    """How sure it is (0 to 1), and why."""
    confidence, reasons = 0.75, ["all arrays together stand at the voltage of their batteries"]
    if period is not None:
        confidence = 0.95
        reasons.append(f"one orbit after the last sunset ({period / 60:.1f} min)")
    elif follows_others and night.dark.begin_hidden_since is None:
        confidence = 0.3
        reasons.append("too soon after the last sunset")
    if lasted is not None and expected is not None and abs(lasted - expected) > _UNLIKE:
        confidence = min(confidence, 0.4)
        reasons.append(f"by the beta angle it should last {expected / 60:.1f} min")
    elif lasted is not None and expected is not None:
        confidence = max(confidence, 0.9)
        reasons.append("as long as by the beta angle")
    if night.dark.begin_hidden_since is not None:
        confidence = min(confidence, 0.5)
        reasons.append("sunset was not seen")
    if night.is_over and night.dark.end_hidden_since is not None:
        confidence = min(confidence, 0.5)
        reasons.append("sunrise was not seen")
    return confidence, reasons


def _iso(at: int | None) -> str | None:
    return None if at is None else moment_of(at).isoformat()
