"""The two tanks of the Water Processor Assembly (WPA): when they are filled and drained, and what is next."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from peebot_dagster.detectors.binned_level import BIN, REACH, binned_level
from peebot_dagster.detectors.detector import DetectedEvent, Window, event_id
from peebot_dagster.detectors.held_values import HOUR, SECOND, HeldValues, held_states, held_values
from peebot_dagster.detectors.level_forecast import (
    INTERVAL_SHARE,
    LOOK_BACK_HOURS,
    Forecast,
    level_forecasts,
)
from peebot_dagster.detectors.level_phases import BINS_AFTER, LONGEST_PHASE, Phase, level_phases
from peebot_dagster.detectors.level_readings import microseconds, moment_of
from peebot_dagster.detectors.link_gaps import LinkGaps
from peebot_dagster.detectors.state_spells import Spell, hidden_since, lasting_changes, spells

WPA_STATES: dict[float, str] = {
    1: "stop",
    2: "shutdown",
    3: "standby",
    4: "process",
    5: "hot service",
    6: "flush",
    7: "warm shutdown",
}
PROCESS = 4
LONGEST_RUN = 12 * HOUR


@dataclass(frozen=True)
class WaterTanksDetector:
    """Reports when the waste and the clean water tank are filled or drained, and when one is about to run
    out.

    `waste_item` and `clean_item` are the levels (%), `state_item` is the state of the Water Processor, which
    turns the one into the other. Forecasts tell when the clean water falls to `low_percent`, or the waste
    water rises to `high_percent`.
    """

    waste_item: str = "NODE3000008"
    clean_item: str = "NODE3000009"
    state_item: str = "NODE3000006"
    low_percent: float = 20.0
    high_percent: float = 80.0

    @property
    def name(self) -> str:
        return "water_tanks"

    @property
    def version(self) -> str:
        return "1"

    @property
    def items(self) -> tuple[str, ...]:
        return (self.waste_item, self.clean_item, self.state_item)

    @property
    def state_items(self) -> tuple[str, ...]:
        return (self.state_item,)

    @property
    def event_types(self) -> tuple[str, ...]:
        return (
            "waste_tank_drain",
            "waste_tank_fill",
            "clean_tank_drain",
            "clean_tank_fill",
            "waste_water_high_forecast",
            "clean_water_low_forecast",
            "water_processor_run",
        )

    @property
    def look_back(self) -> timedelta:
        """What a forecast rests on, and those that were made just before it; the rest needs less."""
        return timedelta(hours=LOOK_BACK_HOURS)

    @property
    def settle(self) -> timedelta:
        """The longest phase of a tank, until what follows it is known; a run of the processor is shorter."""
        return timedelta(microseconds=(2 * REACH + LONGEST_PHASE + BINS_AFTER + 1) * BIN)

    @property
    def trigger_interval(self) -> timedelta:
        """Levels are looked at in bins of ten minutes."""
        return timedelta(minutes=5)

    def detect(self, window: Window) -> list[DetectedEvent]:
        """All phases, forecasts and runs that begin in the window, sorted by start; some may be open."""
        states = held_states(window, self.state_item, WPA_STATES)
        tanks = {item: held_values(window, item, 0.0, 100.0) for item in (self.waste_item, self.clean_item)}
        events = list(self._runs(window, states, tanks))
        for item, name, limit, sign in (
            (self.waste_item, "waste", self.high_percent, 1),
            (self.clean_item, "clean", self.low_percent, -1),
        ):
            bins = binned_level(window, tanks[item])
            events += (self._phase(item, name, phase, states) for phase in level_phases(bins, tanks[item]))
            events += (self._forecast(item, forecast) for forecast in level_forecasts(bins, limit, sign))
        return sorted(events, key=lambda event: (event.started_at, event.event_type))

    def _runs(
        self, window: Window, states: HeldValues, tanks: dict[str, HeldValues]
    ) -> Iterator[DetectedEvent]:
        watermark = microseconds(window.end)
        for spell in spells(lasting_changes(states, LinkGaps(window)), PROCESS, LONGEST_RUN, watermark):
            yield self._run(spell, states, tanks)

    def _run(self, spell: Spell, states: HeldValues, tanks: dict[str, HeldValues]) -> DetectedEvent:
        begin, end = spell.begin, spell.end
        is_open = end is None and not spell.cut
        until = None if is_open else begin.at + LONGEST_RUN if end is None else end.at
        begin_hidden = hidden_since(begin, states)
        end_hidden = None if end is None else hidden_since(end, states)
        reasons = ["the water processor said that it processes"]
        if begin_hidden is not None:
            reasons.append("it began out of sight: its start is an interval")
        if end_hidden is not None:
            reasons.append("it ended out of sight: its end is an interval")
        if spell.cut:
            reasons.append(f"its end was not seen within {LONGEST_RUN // HOUR} h")
        waste, clean = tanks[self.waste_item], tanks[self.clean_item]
        return self._event(
            "water_processor_run",
            self.state_item,
            begin.at,
            begin.at,
            until,
            0.95 if len(reasons) == 1 else 0.6,
            {
                "duration_seconds": None if until is None else (until - begin.at) / SECOND,
                "state_before": WPA_STATES[begin.before],
                "state_after": None if end is None else WPA_STATES[end.after],
                "waste_before_percent": waste.holding(begin.at),
                "waste_after_percent": None if until is None else waste.holding(until),
                "clean_before_percent": clean.holding(begin.at),
                "clean_after_percent": None if until is None else clean.holding(until),
                "masked": begin_hidden is not None,
                "hidden_since": _iso(begin_hidden),
                "end_hidden_since": _iso(end_hidden),
                "reasons": reasons,
            },
        )

    def _phase(self, item: str, tank: str, phase: Phase, states: HeldValues) -> DetectedEvent:
        state = states.holding(phase.evidence)
        running = None if state is None else state == PROCESS
        # The processor empties the one tank and fills the other; any other way somebody else has pumped.
        its_work = (tank, phase.sign) in (("waste", -1), ("clean", 1))
        reasons = [f"the level moved by {round(phase.rate, 2):+g} % an hour"]
        if running is not None:
            reasons.append(f"the water processor was {'' if running else 'not '}processing")
        confidence = 0.95 if running is not None and running == its_work else 0.8
        hidden_since, end = phase.begin.hidden_since, phase.end
        if hidden_since is not None:
            confidence = min(confidence, 0.6)
            reasons.append("it began out of sight: its start is an interval")
        if end is not None and end.hidden_since is not None:
            confidence = min(confidence, 0.6)
            reasons.append("it ended out of sight: its end is an interval")
        if phase.cut:
            confidence = min(confidence, 0.5)
            reasons.append("it went on for longer than a tank lasts: what came later does not count")
        return self._event(
            f"{tank}_tank_{'fill' if phase.sign > 0 else 'drain'}",
            item,
            phase.evidence,
            phase.begin.at,
            None if end is None else end.at,
            confidence,
            {
                "amount_percent": round(phase.amount, 1),
                "rate_percent_per_hour": round(phase.rate, 2),
                "level_before_percent": round(phase.begin.level, 1),
                "level_after_percent": round(phase.level, 1),
                "duration_seconds": None if end is None else (end.at - phase.begin.at) / SECOND,
                "water_processor_running": running,
                "masked": hidden_since is not None,
                "hidden_since": _iso(hidden_since),
                "end_hidden_since": None if end is None else _iso(end.hidden_since),
                "reasons": reasons,
            },
        )

    def _forecast(self, item: str, forecast: Forecast) -> DetectedEvent:
        name = "waste_water_high_forecast" if item == self.waste_item else "clean_water_low_forecast"
        at, latest = forecast.at, forecast.latest
        return self._event(
            name,
            item,
            at,
            at,
            at,
            0.7 if latest is None else 0.8,
            {
                "level_percent": round(forecast.level, 1),
                "limit_percent": forecast.limit,
                "rate_percent_per_hour": round(forecast.rate, 2),
                "expected_at": _iso(at + _hours(forecast.hours)),
                "earliest_at": _iso(at + _hours(forecast.earliest)),
                "latest_at": None if latest is None else _iso(at + _hours(latest)),
                "interval_share": INTERVAL_SHARE,
                "reasons": [
                    f"{forecast.level:.1f} % and {forecast.rate:+.2f} % an hour over the last "
                    f"{forecast.seen_hours:.1f} h without pumping",
                    "unless it is pumped before",
                ],
            },
        )

    def _event(
        self,
        event_type: str,
        item: str,
        evidence: int,
        start: int,
        end: int | None,
        confidence: float,
        payload: dict[str, object],
    ) -> DetectedEvent:
        return DetectedEvent(
            event_id=event_id(self.name, item, moment_of(evidence)),
            detector=self.name,
            detector_version=self.version,
            event_type=event_type,
            item=item,
            started_at=moment_of(start),
            ended_at=None if end is None else moment_of(end),
            state="open" if end is None else "closed",
            confidence=confidence,
            payload=payload,
        )


def _hours(hours: float) -> int:
    """Hours as microseconds, to the minute."""
    return round(hours * 60) * 60 * SECOND


def _iso(at: int | None) -> str | None:
    return None if at is None else moment_of(at).isoformat()
