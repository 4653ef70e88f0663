"""The collection of jokes: what jokes.yaml may contain, and which joke fits which facts."""

from __future__ import annotations

import string
import unicodedata
from datetime import UTC, datetime
from functools import cache
from importlib import resources
from typing import Annotated, Self

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails

from peebot_dagster.posts.facts import Facts, words
from peebot_dagster.posts.holidays import HOLIDAYS
from peebot_dagster.posts.weighted_length import MAX_WEIGHTED_LENGTH, weighted_length

WIDEST_FACTS = Facts(
    started_at=datetime(2024, 12, 25, 23, 59, tzinfo=UTC),
    percent=100,
    ml=9_000,
    level_before=100,
    level_after=100,
    seconds=86_400,
    processing=True,
    minutes_since_last=1_439,
    visit_of_day=1_000,
    visits_in_hour=1_000,
    same_size_in_a_row=1_000,
    biggest_in_days=30,
    longest_pause_in_days=30,
    week_visits=10_000,
    week_ml=9_999_999,
)
"""Facts whose words are as long as they get, used to prove that each template fits into a post."""

PLACEHOLDERS = frozenset(words(WIDEST_FACTS))

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class JokesError(ValueError):
    """The collection of jokes is not usable; the message names the entry and what to change."""


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Between(_Entry):
    """A range of numbers; both bounds belong to it and either may be left out."""

    min: float | None = None
    max: float | None = None

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if self.min is None and self.max is None:
            raise ValueError("give min, max or both")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min:g} is above max {self.max:g}")
        return self

    def __contains__(self, number: float) -> bool:
        return (self.min is None or self.min <= number) and (self.max is None or number <= self.max)


def _known_holiday(name: str) -> str:
    if name not in HOLIDAYS:
        raise ValueError(f"no such holiday: {name}; there are {', '.join(sorted(HOLIDAYS))}")
    return name


class Hours(_Entry):
    """Hours of the crew's clock (UTC) from `start` until just before `end`; may go over midnight."""

    start: int = Field(alias="from", ge=0, le=23)
    end: int = Field(alias="to", ge=0, le=24)

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if self.start == self.end:
            raise ValueError("from and to are the same hour")
        return self

    def __contains__(self, hour: int) -> bool:
        if self.start < self.end:
            return self.start <= hour < self.end
        return hour >= self.start or hour < self.end


Holiday = Annotated[str, AfterValidator(_known_holiday)]


class Conditions(_Entry):
    """When a template is true. A condition on a fact that is unknown is not met."""

    percent: Between | None = None
    ml: Between | None = None
    level: Between | None = None
    seconds: Between | None = None
    minutes_since_last: Between | None = None
    visit_of_day: Between | None = None
    visits_in_hour: Between | None = None
    same_size_in_a_row: Between | None = None
    biggest_in_days: Between | None = None
    longest_pause_in_days: Between | None = None
    week_visits: Between | None = None
    week_ml: Between | None = None
    holiday: Holiday | None = None
    hours: Hours | None = None
    weekdays: frozenset[Annotated[int, Field(ge=1, le=7)]] | None = None
    processing: bool | None = None
    first_of_day: bool | None = None
    night: bool | None = None

    @property
    def rarity(self) -> int:
        """How seldom they are met, as a weight: a joke for one day of the year must not miss its day."""
        return sum(_RARITY.get(name, 1) for name in self.model_fields_set)

    def met_by(self, facts: Facts) -> bool:
        numbers = (
            (self.percent, facts.percent),
            (self.ml, facts.ml),
            (self.level, facts.level_after),
            (self.seconds, facts.seconds),
            (self.minutes_since_last, facts.minutes_since_last),
            (self.visit_of_day, facts.visit_of_day),
            (self.visits_in_hour, facts.visits_in_hour),
            (self.same_size_in_a_row, facts.same_size_in_a_row),
            (self.biggest_in_days, facts.biggest_in_days),
            (self.longest_pause_in_days, facts.longest_pause_in_days),
            (self.week_visits, facts.week_visits),
            (self.week_ml, facts.week_ml),
        )
        truths = (
            (self.processing, facts.processing),
            (self.first_of_day, facts.first_of_day),
            (self.night, facts.night),
        )
        return (
            all(between is None or (fact is not None and fact in between) for between, fact in numbers)
            and all(wanted is None or fact is wanted for wanted, fact in truths)
            and (self.holiday is None or self.holiday in facts.holiday)
            and (self.hours is None or facts.hour in self.hours)
            and (self.weekdays is None or facts.weekday in self.weekdays)
        )


_RARITY = {
    "holiday": 400,
    "biggest_in_days": 150,
    "longest_pause_in_days": 150,
    "same_size_in_a_row": 30,
    "visits_in_hour": 20,
}
"""The weight of a condition that is seldom met, beside some 150 jokes; other conditions weigh 1."""


class Template(_Entry):
    """One joke: text with {placeholders}, the type of event it is about, the conditions that make it true."""

    id: Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=60)]
    text: Text
    event_type: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$")] = "toilet_visit"
    when: Conditions = Conditions()

    @field_validator("text")
    @classmethod
    def _readable(cls, text: str) -> str:
        _placeholders(text)
        return unicodedata.normalize("NFC", text)

    @property
    def placeholders(self) -> frozenset[str]:
        return _placeholders(self.text)

    def fits(self, facts: Facts) -> bool:
        """Whether the joke is true of the facts and each of its placeholders is known."""
        return (
            self.event_type == facts.event_type
            and self.when.met_by(facts)
            and self.placeholders <= words(facts).keys()
        )

    def render(self, facts: Facts) -> str:
        return self.text.format_map(words(facts))


Stamps = Annotated[tuple[Text, ...], Field(min_length=1)]


class JokeBook(_Entry):
    """All templates, and the stamps: the first stamp whose placeholders are known ends each post.

    `stamps_for` has other stamps for some types of events.
    """

    stamps: Stamps
    stamps_for: dict[str, Stamps] = {}
    templates: tuple[Template, ...]

    @property
    def event_types(self) -> frozenset[str]:
        """The events that there is a joke for."""
        return frozenset(template.event_type for template in self.templates)

    @model_validator(mode="after")
    def _usable(self) -> Self:
        _refuse_repetition("id", [template.id for template in self.templates])
        _refuse_repetition("text", [" ".join(template.text.lower().split()) for template in self.templates])
        for event_type in sorted(self.event_types | {"toilet_visit"}):
            if not any(
                not template.placeholders and not template.when.rarity and template.event_type == event_type
                for template in self.templates
            ):
                raise ValueError(
                    f"at least one template for {event_type} must have no placeholder and no condition, "
                    "so that one always fits"
                )
        for stamps in (self.stamps, *self.stamps_for.values()):
            for stamp in stamps:
                _placeholders(stamp)
            if not _placeholders(stamps[-1]) <= {"time"}:
                raise ValueError("the last stamp may only use {time}, so that one always fits")
        for template in self.templates:
            self._fits_into_a_post(template)
        return self

    def _fits_into_a_post(self, template: Template) -> None:
        for stamp in self._stamps(template.event_type):
            text = stamped(template.render(WIDEST_FACTS), stamp.format_map(words(WIDEST_FACTS)))
            if (length := weighted_length(text)) > MAX_WEIGHTED_LENGTH:
                raise ValueError(
                    f"template {template.id!r} may become {length} weighted characters long with its"
                    f" stamp; shorten it by {length - MAX_WEIGHTED_LENGTH}"
                )

    def _stamps(self, event_type: str) -> Stamps:
        return self.stamps_for.get(event_type, self.stamps)

    def stamp(self, facts: Facts) -> str:
        """The line that ends a post about these facts."""
        known, stamps = words(facts), self._stamps(facts.event_type)
        return next(stamp.format_map(known) for stamp in stamps if _placeholders(stamp) <= known.keys())


def stamped(text: str, stamp: str) -> str:
    return f"{text}\n\n{stamp}"


def _placeholders(text: str) -> frozenset[str]:
    try:
        fields = [field for field in string.Formatter().parse(text) if field[1] is not None]
    except ValueError as error:
        raise ValueError(f"a brace does not match: {error}") from error
    for _, name, format_spec, conversion in fields:
        if name not in PLACEHOLDERS or format_spec or conversion:
            raise ValueError(f"no such placeholder: {{{name}}}; there are {', '.join(sorted(PLACEHOLDERS))}")
    return frozenset(str(name) for _, name, _, _ in fields)


def _refuse_repetition(what: str, values: list[str]) -> None:
    for value in values:
        if values.count(value) > 1:
            raise ValueError(f"two templates have the same {what}: {value!r}")


def parse_jokes(source: str, name: str = "jokes.yaml") -> JokeBook:
    """Read a collection from YAML text. Raises JokesError with one line per mistake."""
    try:
        content = yaml.safe_load(source)
    except yaml.YAMLError as error:
        raise JokesError(f"{name} is not YAML: {error}") from error
    try:
        return JokeBook.model_validate(content)
    except ValidationError as error:
        raise JokesError("\n".join(_explain(name, content, problem) for problem in error.errors())) from error


def _explain(name: str, content: object, problem: ErrorDetails) -> str:
    place = list(problem["loc"])
    message = problem["msg"].removeprefix("Value error, ")
    if len(place) > 1 and place[0] == "templates" and isinstance(content, dict):
        number = int(place[1])
        entry = content["templates"][number]
        label = entry.get("id") if isinstance(entry, dict) else None
        place = [f"template {label or number + 1}", *place[2:]]
    return ": ".join([name, *map(str, place), message])


@cache
def load_jokes() -> JokeBook:
    """The collection that comes with PeeBot."""
    return parse_jokes(resources.files("peebot_dagster.posts").joinpath("jokes.yaml").read_text("utf-8"))
