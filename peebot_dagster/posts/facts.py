"""What is known about an event when a post is written, and the words that a template may put it in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from peebot_dagster.posts.holidays import holidays

ORBIT_MINUTES = 92.9
ORBITAL_SPEED_KM_PER_S = 7.66
WATER_RECOVERY = 0.98
"""Share of the water that the station's life support gets back."""

CREW_DAY_START_HOUR = 4
"""The crew lives by UTC and sleeps from about 22 to 6; who gets up before 4 still belongs to yesterday."""

_ESPRESSO_ML = 30
_TEASPOON_ML = 5
_FLUID_OUNCE_ML = 29.57
_MUG_ML = 250


@dataclass(frozen=True)
class Facts:
    """Facts about one event; None is unknown. Percent are percent of the urine tank.

    `minutes_since_last` is the pause before a visit and `visit_of_day` its number in the crew's day.
    `visits_in_hour` and `same_size_in_a_row` (to the percent) count it too, as do `week_visits` and
    `week_ml`, the totals of the crew's week. `biggest_in_days` and `longest_pause_in_days` are 7 or 30 when
    nothing in so many days before was as big or as long. All of these are known only where the feed was
    watched all the while.
    """

    started_at: datetime
    percent: float | None = None
    ml: float | None = None
    level_before: float | None = None
    level_after: float | None = None
    seconds: float | None = None
    processing: bool | None = None
    minutes_since_last: float | None = None
    visit_of_day: int | None = None
    visits_in_hour: int | None = None
    same_size_in_a_row: int | None = None
    biggest_in_days: int | None = None
    longest_pause_in_days: int | None = None
    week_visits: int | None = None
    week_ml: float | None = None
    event_type: str = "toilet_visit"

    @property
    def holiday(self) -> frozenset[str]:
        """The special days that the crew's calendar date (UTC) is; often none."""
        return holidays(self.started_at.astimezone(UTC).date())

    @property
    def hour(self) -> int:
        """Hour of the crew's clock (UTC)."""
        return self.started_at.astimezone(UTC).hour

    @property
    def weekday(self) -> int:
        """ISO weekday of the crew's calendar (UTC): 1 is Monday, 7 is Sunday."""
        return self.started_at.astimezone(UTC).isoweekday()

    @property
    def night(self) -> bool:
        """Whether the crew is asleep by its timetable."""
        return self.hour >= 22 or self.hour < 6

    @property
    def first_of_day(self) -> bool | None:
        return None if self.visit_of_day is None else self.visit_of_day == 1


def crew_day_start(moment: datetime) -> datetime:
    """When the crew's day began that `moment` belongs to (UTC)."""
    shifted = moment.astimezone(UTC) - timedelta(hours=CREW_DAY_START_HOUR)
    midnight = shifted.replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight + timedelta(hours=CREW_DAY_START_HOUR)


def crew_week_start(moment: datetime) -> datetime:
    """When the crew's week began that `moment` belongs to: with the crew's day on Monday (UTC)."""
    day = crew_day_start(moment)
    return day - timedelta(days=day.weekday())


def facts_from_payload(
    payload: Mapping[str, Any],
    started_at: datetime,
    ended_at: datetime | None = None,
    event_type: str = "toilet_visit",
) -> Facts:
    """Facts from the payload of a detected event; what is missing or impossible counts as unknown."""
    processing = payload.get("upa_processing")
    return Facts(
        started_at=started_at,
        percent=_number(payload.get("amount_percent"), 1, 100),
        ml=_number(payload.get("amount_ml"), 1, 9_000),
        level_before=_number(payload.get("level_before_percent"), 0, 100),
        level_after=_number(payload.get("level_after_percent"), 0, 100),
        seconds=None if ended_at is None else (ended_at - started_at).total_seconds(),
        processing=processing if isinstance(processing, bool) else None,
        event_type=event_type,
    )


def _number(value: object, least: float, most: float) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        return None
    return float(value)


def words(facts: Facts) -> dict[str, str]:
    """What each placeholder of a template stands for; a placeholder whose fact is unknown is missing."""
    known = {"time": facts.started_at.astimezone(UTC).strftime("%H:%M")}
    if facts.percent is not None:
        known["percent"] = _whole(facts.percent)
    if facts.ml is not None:
        known["ml"] = _tens(facts.ml)
        known["water_ml"] = _tens(facts.ml * WATER_RECOVERY)
        known["espressos"] = _whole(max(1, facts.ml / _ESPRESSO_ML))
        known["teaspoons"] = _whole(max(1, facts.ml / _TEASPOON_ML))
        known["fluid_ounces"] = f"{facts.ml / _FLUID_OUNCE_ML:.1f}"
    if facts.level_before is not None:
        known["before"] = _whole(facts.level_before)
    if facts.level_after is not None:
        known["level"] = _whole(facts.level_after)
    if facts.seconds is not None:
        known["seconds"] = _whole(facts.seconds)
        known["km"] = _whole(facts.seconds * ORBITAL_SPEED_KM_PER_S)
    if facts.minutes_since_last is not None:
        known["since"] = _duration(facts.minutes_since_last)
        known["orbits"] = f"{facts.minutes_since_last / ORBIT_MINUTES:.1f}"
        known["km_since"] = f"{round(facts.minutes_since_last * 60 * ORBITAL_SPEED_KM_PER_S, -2):,.0f}"
    if facts.visit_of_day is not None:
        known["visit"] = str(facts.visit_of_day)
        known["visit_ordinal"] = _ordinal(facts.visit_of_day)
    if facts.visits_in_hour is not None:
        known["visits_in_hour"] = str(facts.visits_in_hour)
    if facts.same_size_in_a_row is not None:
        known["row"] = str(facts.same_size_in_a_row)
    if facts.biggest_in_days is not None:
        known["record_days"] = str(facts.biggest_in_days)
    if facts.longest_pause_in_days is not None:
        known["pause_days"] = str(facts.longest_pause_in_days)
    if facts.week_visits is not None:
        known["week_visits"] = str(facts.week_visits)
    if facts.week_ml is not None:
        known["week_litres"] = _whole(max(1, facts.week_ml / 1_000))
        known["week_mugs"] = f"{max(5, round(facts.week_ml / _MUG_ML / 5) * 5):,.0f}"
    return known


def _whole(number: float) -> str:
    return f"{number:.0f}"


def _tens(millilitres: float) -> str:
    # The gauge knows whole percents of 82 mL: single millilitres would be invented.
    return f"{max(10, round(millilitres, -1)):.0f}"


def _duration(minutes: float) -> str:
    hours, rest = divmod(max(1, round(minutes)), 60)
    parts = [_count(hours, "hour")] if hours else []
    if rest or not hours:
        parts.append(_count(rest, "minute"))
    return " ".join(parts)


def _count(number: int, unit: str) -> str:
    return f"{number} {unit}" if number == 1 else f"{number} {unit}s"


def _ordinal(number: int) -> str:
    suffix = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{suffix}"
