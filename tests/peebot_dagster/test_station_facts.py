from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from peebot_dagster.station_facts import (
    EventMark,
    MinuteValue,
    Span,
    longest_pause,
    midnight,
    spans_where,
    visits_by_hour,
    water_days,
)

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
TODAY = datetime(2025, 3, 1, tzinfo=UTC)


def an_event(at: datetime, event_type: str = "toilet_visit", percent: float | None = 3.0) -> EventMark:
    return EventMark(event_type, at, at, 30.0, None if percent is None else 82 * percent, percent)


def test_the_crews_day_begins_at_midnight_utc_wherever_the_clock_stands() -> None:
    tokyo = datetime.fromisoformat("2025-03-02T08:30:00+09:00")
    assert midnight(tokyo) == TODAY


def test_minutes_with_the_wanted_state_become_spans() -> None:
    states = [MinuteValue(TODAY + i * MINUTE, 16.0 if i in (1, 2, 5) else 32.0) for i in range(7) if i != 4]
    assert spans_where(states, 16.0, "processing") == [
        Span("processing", TODAY + MINUTE, TODAY + 3 * MINUTE),
        Span("processing", TODAY + 5 * MINUTE, TODAY + 6 * MINUTE),
    ]


def test_what_came_in_is_told_by_where_it_came_from() -> None:
    events = [
        an_event(TODAY + HOUR),
        an_event(TODAY + 2 * HOUR, "toilet_visit_masked", 4.0),
        an_event(TODAY + 3 * HOUR, "tank_transfer", 20.0),
        an_event(TODAY + 4 * HOUR, "dribble", 1.0),
        an_event(TODAY + DAY),
        an_event(TODAY + DAY, "sensor_reset", None),
    ]

    first, second = water_days(events, {date(2025, 3, 1): 40.0}, date(2025, 3, 1), 2)

    assert (first.visits_percent, first.transfers_percent, first.others_percent) == (7.0, 20.0, 1.0)
    assert (first.visits_ml, first.falls_percent) == (7 * 82, 40.0)
    assert (second.visits_percent, second.others_percent, second.falls_percent) == (3.0, 0.0, 0.0)


def test_todays_visits_stand_beside_the_mean_of_the_seven_days_before() -> None:
    visits = [an_event(TODAY - i * DAY + 6 * HOUR) for i in range(9)]
    now, before = visits_by_hour(visits, TODAY)
    assert (now[6], sum(now)) == (1, 1)
    assert abs(before[6] - 1) < 1e-9


def test_the_longest_pause_needs_two_visits() -> None:
    assert longest_pause([an_event(TODAY)], TODAY) is None
    visits = [an_event(TODAY - 9 * HOUR), *(an_event(TODAY + i * HOUR) for i in (0, 1, 4))]
    assert longest_pause(visits, TODAY) == 3 * HOUR
