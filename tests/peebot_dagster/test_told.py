from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from peebot_dagster.health import Verdict
from peebot_dagster.told import DEEPER_LOOK_EVERY, REPEATED_EVERY, Told

NOW = datetime(2025, 3, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
FINE = Verdict("some_check", "fine", "All is well.")
BAD = replace(FINE, level="warning")


def told_fine(at: datetime) -> Told:
    return Told(checks=Told().tell([FINE], at))


def test_a_verdict_is_news_at_first_and_then_only_when_it_changes() -> None:
    assert Told().is_news(FINE, NOW)
    assert not told_fine(NOW).is_news(FINE, NOW + 60 * SECOND)
    assert told_fine(NOW).is_news(BAD, NOW + 60 * SECOND)


def test_an_unchanged_verdict_is_repeated_twice_an_hour_for_its_numbers() -> None:
    assert not told_fine(NOW).is_news(FINE, NOW + REPEATED_EVERY - SECOND)
    assert told_fine(NOW).is_news(FINE, NOW + REPEATED_EVERY)


def test_a_verdict_that_a_later_materialisation_hides_in_the_ui_is_told_again() -> None:
    assert told_fine(NOW).is_news(FINE, NOW + 60 * SECOND, materialized_at=NOW + SECOND)
    assert not told_fine(NOW).is_news(FINE, NOW + 60 * SECOND, materialized_at=NOW - SECOND)


def test_the_last_day_is_looked_at_every_few_minutes() -> None:
    assert Told().deeper_look_is_due(NOW)
    looked = Told(looked_deeper_at=NOW)
    assert not looked.deeper_look_is_due(NOW + DEEPER_LOOK_EVERY - SECOND)
    assert looked.deeper_look_is_due(NOW + DEEPER_LOOK_EVERY)


def test_what_was_told_survives_as_a_cursor() -> None:
    told = Told(7, NOW, NOW, {"some_check": ("error", NOW)})
    assert Told.from_cursor(told.to_cursor()) == told
    assert Told.from_cursor(Told().to_cursor()) == Told()


@pytest.mark.parametrize("cursor", [None, "", "4711", "[]", "no json", '{"checks": 3}', '{"at": "then"}'])
def test_a_cursor_that_cannot_be_read_means_that_nothing_was_told(cursor: str | None) -> None:
    assert Told.from_cursor(cursor) == Told()
