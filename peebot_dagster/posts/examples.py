"""Posts about a made-up station, to read before the world does.

Pure, and the same seed gives the same page.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime, time, timedelta

from peebot_dagster.posts.composing import NO_REPEAT_WITHIN, Composition, compose
from peebot_dagster.posts.facts import Facts
from peebot_dagster.posts.jokes import JokeBook
from peebot_dagster.posts.policy import PostPolicy
from peebot_dagster.posts.visit_history import with_history

_HISTORY = timedelta(days=31)
_ML_PER_PERCENT = 82
_SIZES, _SIZE_WEIGHTS = (2, 3, 4, 5, 6, 7, 8, 9, 10), (469, 401, 227, 122, 87, 32, 18, 3, 7)
_TRANSFERS = (11, 30)
_SECONDS_PER_PERCENT = 6
_FULL, _DRAINED, _DRAIN_PER_HOUR = 65.0, 6.0, 10.8
# Visits per hour of the crew's day: few at night, a rush when it gets up.
_BY_HOUR = (0.2,) * 4 + (0.3, 0.5) + (1.8,) * 3 + (1.0,) * 12 + (0.8, 0.5, 0.3)


@dataclass(frozen=True)
class Example:
    """A post, and what was known when it was written."""

    facts: Facts
    post: Composition

    @property
    def known(self) -> dict[str, object]:
        """The facts by name, without what is unknown."""
        shown = {field.name: getattr(self.facts, field.name) for field in fields(self.facts)}
        shown["holiday"] = ", ".join(sorted(self.facts.holiday)) or None
        return {name: value for name, value in shown.items() if value is not None}


def examples(
    count: int, seed: int, first_day: date, jokes: JokeBook, event_type: str = "toilet_visit"
) -> list[Example]:
    """The first `count` posts from `first_day` (UTC) on, told under the default policy.

    ValueError when there is no joke for this type of event.
    """
    if event_type not in jokes.event_types:
        raise ValueError(f"there is no joke for {event_type!r}; there are some for {_listed(jokes)}")
    start = datetime.combine(first_day, time(), UTC)
    earlier: list[Facts] = []
    told: list[str] = []
    found: list[Example] = []
    for event in _events(random.Random(seed), start - _HISTORY, event_type):  # noqa: S311 - not a secret
        if event_type == "toilet_visit":
            facts = with_history(event, earlier, [(start - 2 * _HISTORY, event.started_at)])
            earlier.insert(0, event)
        else:
            facts = event
        too_soon = found and facts.started_at - found[-1].facts.started_at < PostPolicy().cooldown
        if facts.started_at < start or too_soon:
            continue
        event_id = uuid.uuid5(uuid.NAMESPACE_OID, f"{seed} {facts.started_at.isoformat()}")
        post = compose(event_id, facts, told[:NO_REPEAT_WITHIN], jokes)
        if post is not None:
            told.insert(0, post.template)
            found.append(Example(facts, post))
        if len(found) >= count:
            break
    return found


def _listed(jokes: JokeBook) -> str:
    return ", ".join(sorted(jokes.event_types))


def _events(chance: random.Random, since: datetime, event_type: str) -> Iterator[Facts]:
    """A station's events for ever, with a tank that fills and is drained about once a day."""
    moment, level, processing = since, 30.0, False
    while True:
        pause = timedelta(hours=chance.expovariate(1.0) / _BY_HOUR[moment.hour])
        if pause > timedelta(hours=1):
            # Look again an hour on, when people may be up: a Poisson process has no memory.
            pause, percent = timedelta(hours=1), 0
        else:
            percent = chance.choices(_SIZES, _SIZE_WEIGHTS)[0]
        moment += pause
        if processing:
            level = max(_DRAINED, level - _DRAIN_PER_HOUR * (pause / timedelta(hours=1)))
        processing = level > _DRAINED if processing else level > _FULL
        if not percent:
            continue
        if event_type != "toilet_visit":
            percent = chance.randint(*_TRANSFERS)
        before = float(int(level))
        level = min(99.0 - percent, level) + percent
        yield Facts(
            started_at=moment,
            percent=percent,
            ml=percent * _ML_PER_PERCENT,
            level_before=before,
            level_after=before + percent,
            seconds=percent * _SECONDS_PER_PERCENT - chance.randint(0, 5),
            processing=processing,
            event_type=event_type,
        )
