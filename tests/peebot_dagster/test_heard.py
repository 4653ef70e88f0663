from __future__ import annotations

from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from peebot_dagster.health import LinkDay
from peebot_dagster.heard import HABIT_DAYS, Channel, channel_facts, channels_heard

NOW = datetime(2025, 3, 20, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
NOTHING = timedelta(0)
LIVE_DAY = LinkDay(24 * HOUR, 23 * HOUR, HOUR, NOTHING)


def silent(hours: float, days: int = 0, item: str = "NODE3000005") -> Channel:
    return Channel(item, NOW - hours * HOUR, days)


def test_a_channel_that_says_nothing_for_weeks_is_no_fault_while_another_of_the_detector_speaks() -> None:
    verdict = channels_heard([silent(500, days=2), silent(1), Channel("NEVER", None, 0)], LIVE_DAY, NOW)
    assert (verdict.level, verdict.numbers["silent_for_a_day"]) == ("fine", 2)


@pytest.mark.parametrize("channels", [[silent(25)], [silent(25), Channel("NEVER", None, 0)]])
def test_a_detector_that_has_heard_nothing_at_all_for_a_day_is_warned_of(channels: list[Channel]) -> None:
    verdict = channels_heard(channels, LIVE_DAY, NOW)
    assert verdict.level == "warning"
    assert all(channel.item in verdict.advice for channel in channels)


def test_a_channel_that_was_heard_each_day_may_not_be_silent_for_one() -> None:
    dead = silent(25, HABIT_DAYS, "NODE3000008")
    assert channels_heard([silent(23, HABIT_DAYS), silent(1)], LIVE_DAY, NOW).level == "fine"
    verdict = channels_heard([dead, silent(1)], LIVE_DAY, NOW)
    assert verdict.level == "warning"
    assert verdict.advice.startswith("NODE3000008:")


@pytest.mark.parametrize(
    "link",
    [
        LinkDay(24 * HOUR, 12 * HOUR, NOTHING, 12 * HOUR),
        LinkDay(6 * HOUR, 6 * HOUR, NOTHING, NOTHING),
        LinkDay(NOTHING, NOTHING, NOTHING, NOTHING),
    ],
)
def test_a_day_that_was_hardly_heard_tells_nothing(link: LinkDay) -> None:
    assert channels_heard([silent(900)], link, NOW).level == "fine"


def test_the_facts_are_the_newest_good_reading_and_the_days_before_it_on_which_there_was_one(
    connection: psycopg.Connection,
) -> None:
    def store(item: str, ago: timedelta, status_class: int = 24) -> None:
        connection.execute("SELECT create_telemetry_chunks(%(ts)s, %(ts)s)", {"ts": NOW - ago})
        connection.execute(
            "INSERT INTO telemetry_reading SELECT channel_id, %(ts)s, %(ts)s, 1, '1', %(status)s, false, 1"
            " FROM telemetry_channel WHERE item_id = %(item)s",
            {"ts": NOW - ago, "status": status_class, "item": item},
        )

    for day in range(10):
        store("NODE3000005", 30 * HOUR + day * 24 * HOUR)
        if day != 3:
            store("NODE3000008", 30 * HOUR + day * 24 * HOUR)
    store("NODE3000005", HOUR, status_class=2)
    store("NODE3000009", 40 * 24 * HOUR)

    facts = channel_facts(connection, ["NODE3000005", "NODE3000008", "NODE3000009", "NO_SUCH"], NOW)

    assert facts == [
        Channel("NODE3000005", NOW - 30 * HOUR, 7),
        Channel("NODE3000008", NOW - 30 * HOUR, 6),
        Channel("NODE3000009", None, 0),
        Channel("NO_SUCH", None, 0),
    ]
