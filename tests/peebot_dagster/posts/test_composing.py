from __future__ import annotations

import subprocess
import sys
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from peebot_dagster.posts.composing import NO_REPEAT_WITHIN, Composition, compose
from peebot_dagster.posts.facts import Facts
from peebot_dagster.posts.jokes import load_jokes, parse_jokes
from peebot_dagster.posts.weighted_length import MAX_WEIGHTED_LENGTH, weighted_length

FACTS = Facts(datetime(2026, 11, 24, 9, 5, tzinfo=UTC), 3, 246, 40, 43, 12, True, 35, 4)
EVENT = uuid.UUID("7c0e6f0e-5f6a-5c0a-8a6e-2f6f0d1f7a11")

any_facts = st.builds(
    Facts,
    started_at=st.datetimes(
        min_value=datetime(2000, 1, 1),  # noqa: DTZ001
        max_value=datetime(2100, 1, 1),  # noqa: DTZ001
        timezones=st.just(UTC),
    ),
    percent=st.none() | st.floats(1, 100),
    ml=st.none() | st.floats(1, 9_000),
    level_before=st.none() | st.floats(0, 100),
    level_after=st.none() | st.floats(0, 100),
    seconds=st.none() | st.floats(0, 86_400),
    processing=st.none() | st.booleans(),
    minutes_since_last=st.none() | st.floats(0, 1_440),
    visit_of_day=st.none() | st.integers(1, 1_000),
)
any_recent = st.lists(st.sampled_from([template.id for template in load_jokes().templates]), max_size=60)


@given(st.uuids(), any_facts, any_recent)
def test_any_event_gives_a_text_that_fits_into_a_post_and_is_the_same_each_time(
    event_id: uuid.UUID, facts: Facts, recent: list[str]
) -> None:
    post = compose(event_id, facts, recent, load_jokes())
    assert 0 < weighted_length(post.text) <= MAX_WEIGHTED_LENGTH
    assert compose(event_id, facts, list(recent), load_jokes()) == post


@given(st.uuids(), any_facts, any_recent)
def test_no_recent_joke_comes_again_while_another_fits(
    event_id: uuid.UUID, facts: Facts, recent: list[str]
) -> None:
    post = compose(event_id, facts, recent, load_jokes())
    fitting = {template.id for template in load_jokes().templates if template.fits(facts)}
    assert post.template in fitting
    if fitting - set(recent):
        assert post.template not in recent


def test_the_same_event_gives_the_same_text_in_another_process() -> None:
    script = (
        "import uuid; from datetime import UTC, datetime; from peebot_dagster.posts.composing import compose;"
        "from peebot_dagster.posts.facts import Facts; from peebot_dagster.posts.jokes import load_jokes;"
        f"print(compose(uuid.UUID('{EVENT}'), Facts(datetime(2026, 11, 24, 9, 5, tzinfo=UTC), 3, 246, 40, 43,"
        " 12, True, 35, 4), [], load_jokes()).template)"
    )
    other = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == compose(EVENT, FACTS, [], load_jokes()).template


def test_when_nothing_else_fits_the_joke_that_was_told_longest_ago_comes_again() -> None:
    jokes = parse_jokes(
        "stamps: ['{time}']\ntemplates: [{id: a, text: A.}, {id: b, text: B.}, {id: c, text: C.}]"
    )
    assert compose(EVENT, FACTS, ["c", "a", "b", "c", "a"], jokes) == Composition("B.\n\n09:05", "b")


def test_a_month_of_posts_tells_many_different_jokes() -> None:
    recent: list[str] = []
    for number in range(300):
        moment = FACTS.started_at + timedelta(minutes=97 * number)
        facts = replace(FACTS, started_at=moment, percent=2 + number % 7, processing=number % 4 == 0)
        recent.insert(
            0, compose(uuid.UUID(int=number), facts, recent[:NO_REPEAT_WITHIN], load_jokes()).template
        )
    assert len(set(recent)) > 70


def test_a_new_joke_in_the_collection_changes_the_choice_of_few_events() -> None:
    books = [
        parse_jokes(
            "stamps: ['{time}']\ntemplates:\n"
            + "\n".join(f"  - {{id: a{n}, text: A{n}.}}" for n in range(size))
        )
        for size in (50, 51)
    ]
    changed = sum(
        compose(uuid.UUID(int=n), FACTS, [], books[0]) != compose(uuid.UUID(int=n), FACTS, [], books[1])
        for n in range(500)
    )
    assert changed < 30
