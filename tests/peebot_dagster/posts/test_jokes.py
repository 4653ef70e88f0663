from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from importlib import resources

import pytest

from peebot_dagster.posts.facts import Facts
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


def _book(*templates: str, stamps: str = '["{time}"]') -> str:
    return f"stamps: {stamps}\ntemplates:\n  - {{id: always, text: Somebody went.}}\n" + "\n".join(
        f"  - {template}" for template in templates
    )


def _times() -> Iterator[datetime]:
    return (MONDAY + timedelta(days=day, hours=hour) for day in range(7) for hour in range(24))


def _extremes(between: Between | None, least: float, most: float) -> tuple[float, float]:
    low = least if between is None or between.min is None else between.min
    high = most if between is None or between.max is None else between.max
    return low, high


def _extreme_facts(template: Template) -> Iterator[Facts]:
    """The corners of what the template's conditions admit, at an hour that they admit."""
    when = template.when
    moment = next(
        moment
        for moment in _times()
        if (when.hours is None or moment.hour in when.hours)
        and (when.weekdays is None or moment.isoweekday() in when.weekdays)
        and (when.night is None or Facts(moment).night is when.night)
    )
    for percent, ml, level, seconds, minutes, processing in itertools.product(
        _extremes(when.percent, 1, 100),
        _extremes(when.ml, 1, 9_000),
        _extremes(when.level, 0, 100),
        _extremes(when.seconds, 0, 86_400),
        _extremes(when.minutes_since_last, 0, 1_440),
        (when.processing,) if when.processing is not None else (True, False),
    ):
        low, high = _extremes(when.visit_of_day, 1, 1_000)
        for visit in {True: (1,), False: (2, 1_000), None: (low, high)}[when.first_of_day]:
            yield Facts(moment, percent, ml, 0, level, seconds, processing, minutes, int(visit))


def test_the_collection_is_large_and_every_joke_is_different() -> None:
    templates = load_jokes().templates
    assert len(templates) >= 60
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
    assert template.fits(Facts(facts.started_at)) is not needs_facts


def _asks_for_facts(when: Conditions) -> bool:
    return bool(when.model_fields_set - {"hours", "weekdays", "night"})


def test_more_jokes_than_the_no_repeat_window_fit_when_nothing_is_known() -> None:
    always = [
        template for template in load_jokes().templates if template.fits(Facts(MONDAY.replace(hour=15)))
    ]
    assert len(always) > 30


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
