"""How the station is steered: control modes, turns to another attitude, gyroscopes near their limit."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType
from typing import Any

from peebot_dagster.detectors.detector import DetectedEvent, EventState, Window, event_id
from peebot_dagster.detectors.excursions import Excursion, Level, excursions
from peebot_dagster.detectors.held_values import HOUR, MINUTE, SECOND, HeldValues, held_values
from peebot_dagster.detectors.level_readings import moment_of
from peebot_dagster.detectors.link_gaps import Hiding, LinkGaps
from peebot_dagster.detectors.state_changes import LONGEST_FLICKER, StateChange, state_changes

CONTROL_MODES: Mapping[float, str] = MappingProxyType(
    {
        0: "default",
        1: "wait",
        2: "reserved",
        3: "standby",
        4: "gyroscopes",
        5: "gyroscopes and thrusters",
        6: "making user data",
        7: "free drift",
    }
)
"""The states of USLAB000012 by the channel catalogue. In 6 and in 7 somebody else steers, or nobody."""

STATION_MODES: Mapping[float, str] = MappingProxyType(
    {
        1: "standard",
        2: "microgravity",
        4: "reboost",
        8: "ship nearby",
        16: "work outside",
        32: "survival",
        64: "crew return",
        127: "all modes",
    }
)
"""The states of USLAB000086 by the channel catalogue."""

# A turn by 180 degrees with next to no propellant takes about 90 min.
LONGEST_MANOEUVRE = 2 * HOUR
LONGEST_SATURATION = 90 * MINUTE
SATURATED = Level(enter=90.0, leave=80.0, confirm=2 * MINUTE, memory=30 * MINUTE)

_TURNING = 1.0
# At rest the attitude swings by a degree or so in the course of an orbit.
_AT_REST_DEG = 2.0


@dataclass(frozen=True)
class AttitudeDetector:
    """Watches how the station is steered and reports mode changes, manoeuvres and saturated gyroscopes.

    `mode_item` is the US attitude control mode, `manoeuvre_item` tells whether the station is turning to
    another attitude, `saturation_item` the used share of the gyroscopes' momentum (%). The quaternion of the
    attitude against the local horizon gives the angle of a turn. Desaturation requests and the station's mode
    are context.
    """

    mode_item: str = "USLAB000012"
    manoeuvre_item: str = "USLAB000081"
    saturation_item: str = "USLAB000010"
    quaternion_items: tuple[str, str, str, str] = ("USLAB000018", "USLAB000019", "USLAB000020", "USLAB000021")
    desaturation_item: str = "USLAB000011"
    station_mode_item: str = "USLAB000086"

    @property
    def name(self) -> str:
        return "attitude"

    @property
    def version(self) -> str:
        return "1"

    @property
    def items(self) -> tuple[str, ...]:
        signals = (self.mode_item, self.manoeuvre_item, self.saturation_item)
        return (*signals, *self.quaternion_items, self.desaturation_item, self.station_mode_item)

    @property
    def state_items(self) -> tuple[str, ...]:
        return (self.mode_item, self.manoeuvre_item)

    @property
    def event_types(self) -> tuple[str, ...]:
        return ("attitude_mode_change", "station_manoeuvre", "gyroscope_saturation")

    @property
    def look_back(self) -> timedelta:
        """What was out of sight is known for two hours back."""
        return timedelta(hours=2, minutes=15)

    @property
    def settle(self) -> timedelta:
        """The longest manoeuvre and the longest flicker at its end."""
        return timedelta(hours=2, minutes=15)

    @property
    def trigger_interval(self) -> timedelta:
        """The quaternion comes at 1 Hz."""
        return timedelta(seconds=30)

    def detect(self, window: Window) -> list[DetectedEvent]:
        """All events that begin in the window, sorted by start; manoeuvres and saturations may be open."""
        steering = _Steering(
            gaps=LinkGaps(window),
            modes=held_values(window, self.mode_item, 0.0, 255.0),
            turning=held_values(window, self.manoeuvre_item, 0.0, 1.0),
            saturation=held_values(window, self.saturation_item, 0.0, 200.0),
            quaternion=tuple(held_values(window, item, -1.01, 1.01) for item in self.quaternion_items),
            desaturation=held_values(window, self.desaturation_item, 0.0, 1.0),
            station_mode=held_values(window, self.station_mode_item, 0.0, 127.0),
        )
        events = [
            *(self._mode_change(c) for c in state_changes(steering.modes, steering.gaps)),
            *(self._manoeuvre(begin, end, steering) for begin, end in _manoeuvres(steering)),
            *(self._saturation(e, steering) for e in excursions(steering.saturation, SATURATED)),
        ]
        return sorted(events, key=lambda event: (event.started_at, event.event_type))

    def _mode_change(self, change: StateChange) -> DetectedEvent:
        confidence, reasons = 0.95, ["the mode changed and stayed"]
        if not change.settled:
            confidence, reasons = 0.6, ["it may be a flicker"]
        unknown = [state for state in (change.before, change.after) if state not in CONTROL_MODES]
        if unknown:
            confidence = 0.5
            reasons.append(f"no mode is known by the number {unknown[0]:g}")
        payload = {
            "from": change.before,
            "from_name": _name(CONTROL_MODES, change.before),
            "to": change.after,
            "to_name": _name(CONTROL_MODES, change.after),
            "through": [_name(CONTROL_MODES, state) for state in change.through],
        }
        state: EventState = "closed" if change.settled else "open"
        return self._event(
            "attitude_mode_change", self.mode_item, (change.at, change.at), state, confidence,
            payload, reasons, change.hiding,
        )  # fmt: skip

    def _manoeuvre(self, begin: StateChange, end: StateChange | None, steering: _Steering) -> DetectedEvent:
        watermark = steering.turning.end
        until = watermark if end is None else end.at
        is_open = end is None and watermark <= begin.at + LONGEST_MANOEUVRE + LONGEST_FLICKER
        angle = steering.turned(begin, until) if end is not None or is_open else None
        confidence, reasons = 0.9, ["the station says that it is turning"]
        if end is None and not is_open:
            confidence, reasons = (
                0.4,
                ["the station has said for 2 h that it is turning: longer than any turn"],
            )
        elif angle is None:
            confidence, reasons = 0.7, [*reasons, "the attitude is not known"]
        elif angle < _AT_REST_DEG:
            confidence, reasons = 0.5, [*reasons, "the attitude has hardly changed"]
        payload = {
            "duration_seconds": None if end is None else (end.at - begin.at) / SECOND,
            "angle_deg": None if angle is None else round(angle, 1),
            "control_mode": _name(CONTROL_MODES, steering.modes.holding(begin.at)),
            "greatest_saturation_percent": steering.saturation.greatest(begin.at, until)
            if end is not None or is_open
            else None,
            "end_hidden_since": _hidden_since(None if end is None else end.hiding),
            **steering.context(begin.at),
        }
        state: EventState = "open" if is_open else "closed"
        times = (begin.at, None if end is None else end.at)
        return self._event(
            "station_manoeuvre", self.manoeuvre_item, times, state, confidence, payload, reasons, begin.hiding
        )

    def _saturation(self, excursion: Excursion, steering: _Steering) -> DetectedEvent:
        held = steering.saturation
        latest = excursion.start + LONGEST_SATURATION
        is_over = excursion.end is not None and excursion.last_beyond <= latest
        is_open = not is_over and held.end <= latest + SATURATED.memory + SATURATED.confirm
        ended_at = excursion.last_beyond if is_over else None
        payload = {
            "duration_seconds": None if ended_at is None else (ended_at - excursion.start) / SECOND,
            "greatest_saturation_percent": held.greatest(
                excursion.start, latest if ended_at is None else ended_at
            ),
            "control_mode": _name(CONTROL_MODES, steering.modes.holding(excursion.start)),
            **steering.context(excursion.start),
        }
        reasons = ["at 90 % or more for 2 min"]
        if not is_over and not is_open:
            reasons.append("it goes on for more than 90 min")
        state: EventState = "open" if is_open else "closed"
        return self._event(
            "gyroscope_saturation", self.saturation_item, (excursion.start, ended_at), state, 0.9,
            payload, reasons, steering.gaps.hiding(held, excursion.position),
        )  # fmt: skip

    def _event(
        self,
        event_type: str,
        item: str,
        times: tuple[int, int | None],
        state: EventState,
        confidence: float,
        payload: dict[str, Any],
        reasons: list[str],
        hiding: Hiding | None,
    ) -> DetectedEvent:
        started_at, ended_at = moment_of(times[0]), times[1]
        if hiding is not None:
            confidence = min(confidence, 0.7)
            reasons = [*reasons, "out of sight when it began: the time is an interval"]
        return DetectedEvent(
            event_id=event_id(self.name, item, started_at),
            detector=self.name,
            detector_version=self.version,
            event_type=event_type,
            item=item,
            started_at=started_at,
            ended_at=None if ended_at is None else moment_of(ended_at),
            state=state,
            confidence=confidence,
            payload={**payload, "hidden_since": _hidden_since(hiding), "reasons": reasons},
        )


@dataclass(frozen=True)
class _Steering:
    """The items that tell how the station is steered."""

    gaps: LinkGaps
    modes: HeldValues
    turning: HeldValues
    saturation: HeldValues
    quaternion: tuple[HeldValues, ...]
    desaturation: HeldValues
    station_mode: HeldValues

    def context(self, at: int) -> dict[str, Any]:
        """What else held at a moment, for a payload."""
        inhibited = self.desaturation.holding(at)
        return {
            "desaturation_inhibited": None if inhibited is None else inhibited == 1.0,
            "station_mode": _name(STATION_MODES, self.station_mode.holding(at)),
        }

    def turned(self, begin: StateChange, until: int) -> float | None:
        """By how many degrees the attitude differs from the one before the manoeuvre; None if unknown."""
        since = begin.at
        if begin.hiding is not None:
            if begin.hiding.since is None:
                return None
            since = begin.hiding.since
        return angle_between(*([held.holding(at) for held in self.quaternion] for at in (since, until)))


def angle_between(before: Sequence[float | None], after: Sequence[float | None]) -> float | None:
    """The angle (degrees, 0 to 180) of the turn from one attitude to another, as quaternions.

    A quaternion and its negative are the same attitude. None where a component is not known, or where the
    length is so far from 1 that they do not belong together.
    """
    known_before = [part for part in before if part is not None]
    known_after = [part for part in after if part is not None]
    if len(known_before) < len(before) or len(known_after) < len(after):
        return None
    lengths = math.hypot(*known_before), math.hypot(*known_after)
    if not all(0.95 <= length <= 1.05 for length in lengths):
        return None
    product = sum(a * b for a, b in zip(known_before, known_after, strict=True))
    return math.degrees(2 * math.acos(min(1.0, abs(product) / (lengths[0] * lengths[1]))))


def _manoeuvres(steering: _Steering) -> Iterator[tuple[StateChange, StateChange | None]]:
    """Each begin of a manoeuvre that is no flicker, with its end if it has one in time."""
    changes = state_changes(steering.turning, steering.gaps)
    for number, begin in enumerate(changes):
        if begin.after == _TURNING and begin.settled:
            ends = (change for change in changes[number + 1 :] if change.after != _TURNING)
            end = next(ends, None)
            is_in_time = end is not None and end.settled and end.at - begin.at <= LONGEST_MANOEUVRE
            yield begin, end if is_in_time else None


def _name(names: Mapping[float, str], state: float | None) -> str | None:
    return None if state is None else names.get(state, f"unknown ({state:g})")


def _hidden_since(hiding: Hiding | None) -> str | None:
    return None if hiding is None or hiding.since is None else moment_of(hiding.since).isoformat()
