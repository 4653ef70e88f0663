from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from peebot_dagster.health import (
    CatalogueFacts,
    ClockTick,
    LinkDay,
    TankDay,
    Verdict,
    catalogue,
    clocks,
    gaps,
    liveness,
    mass_balance,
    promptness,
    rejections,
    station_time,
    visit_rate,
)
from peebot_dagster.health_facts import rises_of
from peebot_dagster.store import FeedState

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
NOW = datetime(2025, 3, 1, 12, tzinfo=UTC)
MS_AT_NOON = (31 + 28 + 0.5) * 86_400_000


def a_feed(**changes: Any) -> FeedState:
    return FeedState(
        **{
            "state": "LIVE",
            "source": "isslive",
            "since": NOW - 10 * MINUTE,
            "readings": 100,
            "newest_reading_at": NOW - 2 * SECOND,
            "rejected_last_hour": 0,
            "received_last_hour": 50,
        }
        | changes
    )


def a_tick(**changes: Any) -> ClockTick:
    return ClockTick(
        **{"value_ms": MS_AT_NOON, "ts": NOW, "received_at": NOW + 2 * SECOND, "year": 2025} | changes
    )


def a_day(live: float = 0.97, los: float = 0.03, down: float = 0.0, hours: float = 24) -> LinkDay:
    span = timedelta(hours=hours)
    return LinkDay(span, live * span, los * span, down * span)


def said(verdict: Verdict) -> tuple[str, str]:
    return verdict.level, verdict.advice


def test_loss_of_signal_is_a_warning_and_a_dead_connection_is_an_error() -> None:
    assert liveness(a_feed(), NOW).level == "fine"
    assert liveness(a_feed(state="LOS"), NOW).level == "warning"
    level, advice = said(liveness(a_feed(state="DOWN"), NOW))
    assert level == "error"
    assert "ingest daemon" in advice


def test_a_loss_of_signal_that_does_not_end_is_told_to_be_a_dead_feed() -> None:
    assert liveness(a_feed(state="LOS", since=NOW - 59 * MINUTE), NOW).level == "warning"
    level, advice = said(liveness(a_feed(state="LOS", since=NOW - 61 * MINUTE), NOW))
    assert level == "error"
    assert "the feed is dead" in advice


def test_a_store_before_its_first_daemon_is_an_error_that_can_be_told() -> None:
    verdict = liveness(a_feed(state="DOWN", since=None, source=None), NOW)
    assert (verdict.level, verdict.numbers["since"]) == ("error", "never")


@pytest.mark.parametrize(("behind_s", "level"), [(2, "fine"), (31, "warning"), (301, "error")])
def test_a_live_feed_whose_ticks_do_not_reach_the_store_is_told(behind_s: int, level: str) -> None:
    tick = a_tick(received_at=NOW - behind_s * SECOND)
    assert promptness(a_feed(), tick, NOW).level == level


def test_nothing_is_late_while_the_station_is_not_heard_or_a_recording_is_played() -> None:
    old = a_tick(received_at=NOW - 5 * HOUR)
    for feed in (a_feed(state="LOS"), a_feed(state="DOWN"), a_feed(source="replay/1")):
        assert promptness(feed, old, NOW).level == "fine"


def test_a_store_without_the_stations_clock_is_told_once_it_should_be_there() -> None:
    assert promptness(a_feed(since=NOW - MINUTE), None, NOW).level == "fine"
    assert promptness(a_feed(), None, NOW).level == "warning"


def test_more_than_one_percent_of_rejected_updates_is_a_warning() -> None:
    assert rejections(a_feed(rejected_last_hour=1, received_last_hour=99)).level == "fine"
    assert rejections(a_feed(rejected_last_hour=2, received_last_hour=98)).level == "warning"


def test_clocks_that_agree_are_fine_whether_the_year_was_heard_or_not() -> None:
    assert clocks(a_feed(), a_tick()).level == "fine"
    assert clocks(a_feed(), a_tick(year=None)).level == "fine"
    assert clocks(a_feed(), None).level == "fine"


def test_a_machine_whose_clock_is_wrong_is_told_to_set_it() -> None:
    level, advice = said(clocks(a_feed(), a_tick(received_at=NOW + 40 * SECOND)))
    assert level == "warning"
    assert "This machine's clock" in advice
    assert clocks(a_feed(), a_tick(received_at=NOW - 40 * SECOND)).level == "warning"


def test_time_stamps_in_another_year_than_the_station_says_are_told() -> None:
    level, advice = said(clocks(a_feed(), a_tick(year=2024)))
    assert level == "warning"
    assert "wrong year" in advice


def test_milliseconds_may_count_from_the_first_of_january_or_from_the_day_before() -> None:
    assert station_time(2025, MS_AT_NOON, NOW) == NOW
    assert station_time(2025, MS_AT_NOON + 86_400_000, NOW) == NOW


def test_a_recording_tells_nothing_about_this_machines_clock() -> None:
    assert clocks(a_feed(source="replay/1"), a_tick(received_at=NOW + 40 * HOUR)).level == "fine"


def test_loss_of_signal_is_no_gap_and_time_without_a_daemon_is() -> None:
    assert gaps(a_day(live=0.5, los=0.5)).level == "fine"
    assert gaps(a_day(live=0.95, los=0.03, down=0.02)).level == "warning"
    untold = gaps(a_day(live=0.95, los=0.03, down=0.0))
    assert untold.level == "warning"
    assert untold.numbers["away_minutes"] == pytest.approx(0.02 * 1440, abs=0.1)


def test_before_the_first_daemon_there_is_no_gap() -> None:
    assert gaps(LinkDay(*[timedelta(0)] * 4)).level == "fine"


def test_items_that_the_catalogue_does_not_know_are_named() -> None:
    verdict = catalogue(CatalogueFacts(300, [], ["NEW000001"]), a_day())
    assert verdict.level == "warning"
    assert verdict.numbers["unknown_items"] == "NEW000001"


def test_items_that_are_silent_are_a_warning_once_there_are_many_and_the_station_was_heard() -> None:
    few, many = ["A"] * 30, ["A"] * 100
    assert catalogue(CatalogueFacts(300, few, []), a_day()).level == "fine"
    assert catalogue(CatalogueFacts(300, many, []), a_day()).level == "warning"
    assert catalogue(CatalogueFacts(300, many, []), a_day(hours=0.5)).level == "fine"
    assert catalogue(CatalogueFacts(0, [], []), a_day()).level == "fine"


def test_before_the_minutes_are_computed_nobody_knows_which_items_are_silent() -> None:
    assert catalogue(CatalogueFacts(3, ["A", "B", "C"], []), a_day()).level == "fine"
    assert catalogue(CatalogueFacts(3, ["A", "B", "C"], ["X"]), a_day()).level == "warning"


def test_what_the_tank_got_must_come_from_events() -> None:
    assert mass_balance(None).level == "fine"
    assert mass_balance(TankDay(18, 63.0, 58.0)).level == "fine"
    assert mass_balance(TankDay(18, 100.0, 60.0)).level == "warning"
    assert mass_balance(TankDay(18, 60.0, 100.0)).level == "warning"


@pytest.mark.parametrize(("visits", "level"), [(4, "warning"), (5, "fine"), (40, "fine"), (41, "warning")])
def test_a_day_with_hardly_any_or_too_many_visits_is_a_warning(visits: int, level: str) -> None:
    assert visit_rate(TankDay(visits, 60.0, 60.0), a_day()).level == level


def test_a_day_that_was_not_heard_tells_nothing_about_visits() -> None:
    assert visit_rate(TankDay(0, 0.0, 0.0), a_day(live=0.7, los=0.3)).level == "fine"
    assert visit_rate(TankDay(0, 0.0, 0.0), a_day(hours=12)).level == "fine"
    assert visit_rate(None, a_day()).level == "fine"


def test_every_verdict_that_is_not_fine_says_what_to_do_in_a_sentence() -> None:
    tick = a_tick(received_at=NOW - HOUR)
    for verdict in (
        liveness(a_feed(state="DOWN"), NOW),
        promptness(a_feed(), tick, NOW),
        rejections(a_feed(rejected_last_hour=50)),
        clocks(a_feed(), tick),
        gaps(a_day(live=0.5, los=0.0)),
        catalogue(CatalogueFacts(3, [], ["X"]), a_day()),
        mass_balance(TankDay(1, 100.0, 0.0)),
        visit_rate(TankDay(99, 0.0, 0.0), a_day()),
    ):
        assert verdict.level != "fine"
        assert len(verdict.advice.split()) > 10
        assert verdict.advice.endswith((".", "?", "(sql/channels.csv)?"))


def test_dither_is_no_rise() -> None:
    assert rises_of([]) == 0.0
    assert rises_of([5, 6, 5, 6, 5, 6]) == 0.0
    assert rises_of([5, 6, 5, 6, 7, 8, 9, 8, 9, 2, 5]) == 5.0
