from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from importlib import resources
from typing import Any

import pytest

from peebot_dagster.posts.composing import NO_REPEAT_WITHIN
from peebot_dagster.posts.facts import Facts
from peebot_dagster.posts.holidays import HOLIDAYS
from peebot_dagster.posts.jokes import (
    PLACEHOLDERS,
    Between,
    Conditions,
    Hours,
    JokesError,
    Template,
    load_jokes,
    parse_jokes,
    stamped,
)
from peebot_dagster.posts.weighted_length import MAX_WEIGHTED_LENGTH, weighted_length

MONDAY = datetime(2026, 11, 23, tzinfo=UTC)
TUESDAY_AFTERNOON = datetime(2026, 11, 24, 15, tzinfo=UTC)


def _book(*templates: str, stamps: str = '["{time}"]') -> str:
    return f"stamps: {stamps}\ntemplates:\n  - {{id: always, text: Somebody went.}}\n" + "\n".join(
        f"  - {template}" for template in templates
    )


_RANGES: dict[str, tuple[str, float, float]] = {
    "percent": ("percent", 1, 100),
    "ml": ("ml", 1, 9_000),
    "level": ("level_after", 0, 100),
    "seconds": ("seconds", 0, 86_400),
    "minutes_since_last": ("minutes_since_last", 0, 1_440),
    "visit_of_day": ("visit_of_day", 1, 1_000),
    "visits_in_hour": ("visits_in_hour", 1, 1_000),
    "same_size_in_a_row": ("same_size_in_a_row", 2, 1_000),
    "biggest_in_days": ("biggest_in_days", 7, 30),
    "longest_pause_in_days": ("longest_pause_in_days", 7, 30),
    "week_visits": ("week_visits", 1, 10_000),
    "week_ml": ("week_ml", 1, 9_999_999),
}
"""For each condition on a number: its fact, and the least and greatest that this can be."""


def _moment(when: Conditions) -> datetime:
    """An hour at which the conditions on time are met."""
    years = (
        datetime(2026, 1, 1, hour, tzinfo=UTC) + timedelta(days=day)
        for day in range(800)
        for hour in range(24)
    )
    return next(
        moment
        for moment in years
        if (when.hours is None or moment.hour in when.hours)
        and (when.weekdays is None or moment.isoweekday() in when.weekdays)
        and (when.night is None or Facts(moment).night is when.night)
        and (when.holiday is None or when.holiday in Facts(moment).holiday)
    )


def _extreme_facts(template: Template) -> Iterator[Facts]:
    """What the template's conditions admit at the least and at the most, and each fact alone at its most."""
    when = template.when
    lowest, highest = {}, {}
    for condition, (fact, least, most) in _RANGES.items():
        between: Between | None = getattr(when, condition)
        lowest[fact] = least if between is None or between.min is None else between.min
        highest[fact] = most if between is None or between.max is None else between.max
    if when.first_of_day is not None:
        lowest["visit_of_day"], highest["visit_of_day"] = (1, 1) if when.first_of_day else (2, 1_000)
    base: dict[str, Any] = {
        "started_at": _moment(when),
        "level_before": 0,
        "processing": when.processing is not False,
        "event_type": template.event_type,
    }
    for numbers in (lowest, highest, *({**lowest, fact: most} for fact, most in highest.items())):
        whole = {fact: int(number) for fact, number in numbers.items()}
        yield Facts(**{**base, **whole})


def test_the_collection_is_large_and_every_joke_is_different() -> None:
    templates = load_jokes().templates
    assert len(templates) >= 120
    assert len({template.id for template in templates}) == len(templates)
    assert len({template.text.casefold() for template in templates}) == len(templates)


@pytest.mark.parametrize("template", load_jokes().templates, ids=lambda template: template.id)
def test_each_joke_fits_into_a_post_for_the_most_extreme_facts_that_it_admits(template: Template) -> None:
    book = load_jokes()
    for facts in _extreme_facts(template):
        assert template.fits(facts)
        text = stamped(template.render(facts), book.stamp(facts))
        assert 0 < weighted_length(text) <= MAX_WEIGHTED_LENGTH
        assert "{" not in text
        assert "None" not in text


@pytest.mark.parametrize("template", load_jokes().templates, ids=lambda template: template.id)
def test_a_joke_never_comes_when_a_fact_that_it_tells_is_unknown(template: Template) -> None:
    facts = next(_extreme_facts(template))
    needs_facts = bool(template.placeholders - {"time"}) or _asks_for_facts(template.when)
    assert template.fits(Facts(facts.started_at, event_type=template.event_type)) is not needs_facts


def _asks_for_facts(when: Conditions) -> bool:
    return bool(when.model_fields_set - {"hours", "weekdays", "night", "holiday"})


def test_more_jokes_than_the_no_repeat_window_fit_when_nothing_is_known() -> None:
    always = [template for template in load_jokes().templates if template.fits(Facts(TUESDAY_AFTERNOON))]
    assert len(always) > NO_REPEAT_WITHIN


@pytest.mark.parametrize("word", ["man", "men", "woman", "he", "she", "his", "her", "american", "russian"])
def test_no_joke_is_about_who_it_was(word: str) -> None:
    for template in load_jokes().templates:
        assert word not in template.text.lower().replace(".", " ").replace(",", " ").split(), template.id


@pytest.mark.parametrize(
    ("hours", "inside", "outside"),
    [({"from": 6, "to": 9}, [6, 8], [5, 9]), ({"from": 22, "to": 6}, [22, 23, 0, 5], [6, 21])],
)
def test_hours_end_before_their_last_and_may_go_over_midnight(
    hours: dict[str, int], inside: list[int], outside: list[int]
) -> None:
    condition = Hours.model_validate(hours)
    assert all(hour in condition for hour in inside)
    assert not any(hour in condition for hour in outside)


@pytest.mark.parametrize(
    ("condition", "fact"),
    [
        ("percent: {min: 3, max: 5}", {"percent": 3}),
        ("ml: {max: 200}", {"ml": 200}),
        ("level: {min: 60}", {"level_after": 61}),
        ("seconds: {min: 20}", {"seconds": 20}),
        ("minutes_since_last: {min: 100}", {"minutes_since_last": 100}),
        ("visit_of_day: {min: 2}", {"visit_of_day": 2}),
        ("processing: false", {"processing": False}),
        ("first_of_day: true", {"visit_of_day": 1}),
        ("visits_in_hour: {min: 4}", {"visits_in_hour": 4}),
        ("same_size_in_a_row: {min: 3}", {"same_size_in_a_row": 3}),
        ("biggest_in_days: {min: 7}", {"biggest_in_days": 7}),
        ("longest_pause_in_days: {min: 7}", {"longest_pause_in_days": 30}),
        ("week_visits: {min: 40}", {"week_visits": 40}),
        ("week_ml: {min: 8000}", {"week_ml": 8_000}),
    ],
)
def test_a_condition_holds_for_its_fact_only_when_that_is_known(
    condition: str, fact: dict[str, float]
) -> None:
    template = parse_jokes(_book(f"{{id: some, text: A joke., when: {{{condition}}}}}")).templates[1]
    assert template.fits(replace(Facts(MONDAY), **fact))
    assert not template.fits(Facts(MONDAY))
    opposite = {name: (not value) if isinstance(value, bool) else -1 for name, value in fact.items()}
    if "max: 200" not in condition:
        assert not template.fits(replace(Facts(MONDAY), **opposite))


def test_conditions_on_time_follow_the_crews_clock_and_calendar() -> None:
    book = parse_jokes(_book("{id: a, text: A., when: {weekdays: [1], night: true}}"))
    assert book.templates[1].fits(Facts(MONDAY.replace(hour=23)))
    assert not book.templates[1].fits(Facts(MONDAY.replace(hour=12)))
    assert not book.templates[1].fits(Facts(MONDAY + timedelta(days=1)))


def test_a_joke_for_a_holiday_comes_on_that_day_of_the_crews_calendar_only() -> None:
    book = parse_jokes(_book("{id: a, text: A., when: {holiday: christmas}}"))
    assert book.templates[1].fits(Facts(datetime(2026, 12, 25, 0, 30, tzinfo=UTC)))
    assert not book.templates[1].fits(Facts(datetime(2026, 12, 24, 23, 30, tzinfo=UTC)))


def test_a_joke_about_another_type_of_event_is_told_of_that_only() -> None:
    book = parse_jokes(_book("{id: a, event_type: spacewalk, text: A.}"))
    assert book.event_types == {"toilet_visit", "spacewalk"}
    for event_type, fitting in (("spacewalk", ["a"]), ("toilet_visit", ["always"]), ("dribble", [])):
        facts = Facts(MONDAY, event_type=event_type)
        assert [template.id for template in book.templates if template.fits(facts)] == fitting


def test_a_type_of_event_may_have_stamps_of_its_own() -> None:
    book = parse_jokes(
        "stamps_for: {spacewalk: ['out at {time}']}\n" + _book("{id: a, event_type: spacewalk, text: A.}")
    )
    stamps = [
        book.stamp(Facts(MONDAY, event_type=event_type)) for event_type in ("spacewalk", "toilet_visit")
    ]
    assert stamps == ["out at 00:00", "00:00"]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            _book("{id: a, text: '{colour} is it'}"),
            "jokes.yaml: template a: text: no such placeholder: {colour}",
        ),
        (_book("{id: a, text: '{percent.real}'}"), "no such placeholder: {percent.real}"),
        (_book("{id: a, text: '{percent!r}'}"), "no such placeholder"),
        (_book("{id: a, text: '{percent:>999}'}"), "no such placeholder"),
        (_book("{id: a, text: 'open {percent'}"), "template a: text: a brace does not match"),
        (_book("{id: a, text: ' '}"), "template a: text: String should have at least 1 character"),
        (_book("{id: a}"), "template a: text: Field required"),
        (_book("{id: Not an id, text: b}"), "template Not an id: id: String should match"),
        (_book("{id: always, text: b}"), "two templates have the same id: 'always'"),
        (_book("{id: a, text: somebody  went.}"), "two templates have the same text: 'somebody went.'"),
        (_book("{id: a, text: b, wenn: {night: true}}"), "template a: wenn: Extra inputs are not permitted"),
        (
            _book("{id: a, text: b, when: {nite: true}}"),
            "template a: when: nite: Extra inputs are not permitted",
        ),
        (_book("{id: a, text: b, when: {percent: {min: 5, max: 2}}}"), "when: percent: min 5 is above max 2"),
        (_book("{id: a, text: b, when: {percent: {}}}"), "when: percent: give min, max or both"),
        (_book("{id: a, text: b, when: {hours: {from: 6, to: 6}}}"), "when: hours: from and to are the same"),
        (
            _book("{id: a, text: b, when: {hours: {from: 6, to: 25}}}"),
            "when: hours: to: Input should be less",
        ),
        (_book("{id: a, text: b, when: {weekdays: [0]}}"), "when: weekdays: 0: Input should be greater"),
        (_book(f"{{id: a, text: {'x' * 300}}}"), "template 'a' may become 307 weighted characters"),
        (
            _book("{id: a, text: b, when: {holiday: easter}}"),
            "when: holiday: no such holiday: easter; there are",
        ),
        (_book("{id: a, text: b, event_type: Space Walk}"), "template a: event_type: String should match"),
        (
            _book("{id: a, text: '{ml}', event_type: spacewalk}"),
            "at least one template for spacewalk must have no placeholder and no condition",
        ),
        ("stamps_for: {spacewalk: ['{ml}']}\n" + _book(), "the last stamp may only use {time}"),
        (_book("just words"), "template 2: Input should be a valid dictionary"),
        (_book(stamps='["{percent}"]'), "the last stamp may only use {time}"),
        (_book(stamps='["{clock}"]'), "no such placeholder: {clock}"),
        (_book(stamps="[]"), "jokes.yaml: stamps: Tuple should have at least 1 item"),
        ("stamps: ['{time}']\ntemplates:\n  - {id: a, text: '{percent}'}", "so that one always fits"),
        ("templates: [", "jokes.yaml is not YAML"),
        ("", "jokes.yaml: Input should be a valid dictionary"),
    ],
)
def test_a_mistake_in_the_collection_is_named_with_its_entry(source: str, message: str) -> None:
    with pytest.raises(JokesError) as caught:
        parse_jokes(source)
    assert message in str(caught.value)


def test_the_first_stamp_whose_facts_are_known_is_taken() -> None:
    book = parse_jokes(_book(stamps='["{before} {level}", "{percent}", "{time}"]'))
    facts = Facts(MONDAY, percent=3, level_before=40, level_after=43)
    assert [book.stamp(f) for f in (facts, replace(facts, level_after=None), Facts(MONDAY))] == [
        "40 43",
        "3",
        "00:00",
    ]


def test_every_placeholder_is_explained_in_the_head_of_the_collection() -> None:
    source = resources.files("peebot_dagster.posts").joinpath("jokes.yaml").read_text("utf-8")
    head = source[: source.index("\nstamps:")]
    assert all(f"{{{name}}}" in head for name in PLACEHOLDERS)


def test_every_condition_and_holiday_is_explained_in_the_head_of_the_collection() -> None:
    source = resources.files("peebot_dagster.posts").joinpath("jokes.yaml").read_text("utf-8")
    head = source[: source.index("\nstamps:")]
    assert [name for name in (*Conditions.model_fields, *HOLIDAYS) if name not in head] == []
