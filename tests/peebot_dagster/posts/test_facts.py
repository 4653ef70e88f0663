from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peebot_dagster.posts.facts import Facts, crew_day_start, crew_week_start, facts_from_payload, words

START = datetime(2026, 11, 24, 6, 42, tzinfo=UTC)


def test_words_are_rounded_to_what_the_gauge_can_know() -> None:
    facts = facts_from_payload(
        {"amount_percent": 4.0, "amount_ml": 328, "level_before_percent": 41, "level_after_percent": 45},
        START,
        START + timedelta(seconds=18),
    )
    facts = replace(
        facts,
        minutes_since_last=65,
        visit_of_day=2,
        visits_in_hour=4,
        same_size_in_a_row=3,
        biggest_in_days=7,
        longest_pause_in_days=30,
        week_visits=41,
        week_ml=11_890,
    )
    assert words(facts) == {
        "time": "06:42",
        "percent": "4",
        "ml": "330",
        "water_ml": "320",
        "espressos": "11",
        "teaspoons": "66",
        "fluid_ounces": "11.1",
        "before": "41",
        "level": "45",
        "seconds": "18",
        "km": "138",
        "since": "1 hour 5 minutes",
        "orbits": "0.7",
        "km_since": "29,900",
        "visit": "2",
        "visit_ordinal": "2nd",
        "visits_in_hour": "4",
        "row": "3",
        "record_days": "7",
        "pause_days": "30",
        "week_visits": "41",
        "week_litres": "12",
        "week_mugs": "50",
    }


def test_the_hour_is_the_crews_and_not_that_of_the_given_time_zone() -> None:
    facts = Facts(datetime(2026, 11, 24, 1, 30, tzinfo=timezone(timedelta(hours=9))))
    assert (facts.hour, facts.weekday, facts.night, words(facts)["time"]) == (16, 1, False, "16:30")


@pytest.mark.parametrize("amount", [None, "3", True, 0, -1, 101, float("nan"), float("inf"), [3], {}])
def test_an_impossible_amount_counts_as_unknown(amount: object) -> None:
    facts = facts_from_payload({"amount_percent": amount, "amount_ml": amount and 1e9}, START)
    assert facts.percent is None
    assert facts.ml is None
    assert words(facts) == {"time": "06:42"}


@pytest.mark.parametrize(
    ("minutes", "text"),
    [
        (0.2, "1 minute"),
        (1, "1 minute"),
        (59.6, "1 hour"),
        (61, "1 hour 1 minute"),
        (130, "2 hours 10 minutes"),
    ],
)
def test_a_pause_is_told_in_hours_and_minutes(minutes: float, text: str) -> None:
    assert words(Facts(START, minutes_since_last=minutes))["since"] == text


@pytest.mark.parametrize(
    ("number", "text"), [(1, "1st"), (3, "3rd"), (11, "11th"), (13, "13th"), (22, "22nd")]
)
def test_visits_are_counted_in_english(number: int, text: str) -> None:
    assert words(Facts(START, visit_of_day=number))["visit_ordinal"] == text


@given(st.datetimes(timezones=st.just(UTC), min_value=datetime(2000, 1, 1), max_value=datetime(2100, 1, 1)))  # noqa: DTZ001
def test_the_crews_day_starts_at_four_and_contains_its_moment(moment: datetime) -> None:
    start = crew_day_start(moment)
    assert start.hour == 4
    assert timedelta(0) <= moment - start < timedelta(days=1)


@given(st.datetimes(timezones=st.just(UTC), min_value=datetime(2000, 1, 1), max_value=datetime(2100, 1, 1)))  # noqa: DTZ001
def test_the_crews_week_starts_with_its_monday_and_contains_its_moment(moment: datetime) -> None:
    start = crew_week_start(moment)
    assert (start.isoweekday(), start.hour) == (1, 4)
    assert timedelta(0) <= moment - start < timedelta(days=7)


@pytest.mark.parametrize(
    ("day", "names"),
    [
        ((2026, 11, 19), {"world-toilet-day"}),
        ((2026, 11, 20), set()),
        ((2026, 11, 13), {"friday-the-13th"}),
        ((2026, 10, 13), set()),
        ((2028, 2, 29), {"leap-day"}),
    ],
)
def test_a_holiday_is_known_by_its_date(day: tuple[int, int, int], names: set[str]) -> None:
    assert Facts(datetime(*day, 12, tzinfo=UTC)).holiday == names
