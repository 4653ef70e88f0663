from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import pytest

from peebot_dagster.posts.composing import NO_REPEAT_WITHIN
from peebot_dagster.posts.examples import examples
from peebot_dagster.posts.jokes import load_jokes

DAY = date(2026, 3, 2)


def test_the_same_seed_gives_the_same_page_and_another_one_another() -> None:
    pages = [examples(20, seed, DAY, load_jokes()) for seed in (1, 1, 2)]
    assert pages[0] == pages[1] != pages[2]


def test_a_page_of_examples_keeps_the_rules_of_real_posts() -> None:
    page = examples(400, 7, DAY, load_jokes())
    assert len(page) == 400
    assert page[0].facts.started_at >= datetime(2026, 3, 2, tzinfo=UTC)
    times = [example.facts.started_at for example in page]
    assert min(b - a for a, b in pairwise(times)) >= timedelta(minutes=30)
    told = [example.post.template for example in page]
    for start in range(len(told) - NO_REPEAT_WITHIN):
        assert len({*told[start : start + NO_REPEAT_WITHIN + 1]}) == NO_REPEAT_WITHIN + 1


def test_a_months_examples_know_records_streaks_and_the_week() -> None:
    known = {name for example in examples(400, 3, DAY, load_jokes()) for name in example.known}
    assert {"biggest_in_days", "same_size_in_a_row", "week_ml", "holiday", "processing"} <= known


@pytest.mark.parametrize(
    ("day", "jokes"),
    [
        (date(2026, 11, 19), {"above-all-nations", "waited-all-year"}),
        (date(2026, 12, 24), {"night-before-christmas"}),
        (date(2028, 2, 29), {"leap-of-relief"}),
    ],
)
def test_a_holidays_jokes_are_told_on_their_day(day: date, jokes: set[str]) -> None:
    told = {
        example.post.template
        for example in examples(30, 1, day, load_jokes())
        if example.facts.started_at.date() == day
    }
    assert jokes <= told


def test_events_of_another_type_have_their_own_jokes_and_one_without_any_is_named() -> None:
    jokes = load_jokes()
    of = {template.id: template.event_type for template in jokes.templates}
    page = examples(8, 1, DAY, jokes, "tank_transfer")
    assert {of[example.post.template] for example in page} == {"tank_transfer"}
    with pytest.raises(
        ValueError, match=r"no joke for 'dribble'; there are some for spacewalk, tank_transfer"
    ):
        examples(1, 1, DAY, jokes, "dribble")
