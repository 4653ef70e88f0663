"""From the facts of a visit to the text of a post: pure, and the same input always gives the same text."""

from __future__ import annotations

import hashlib
import math
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from peebot_dagster.posts.facts import Facts
from peebot_dagster.posts.jokes import JokeBook, Template, stamped

NO_REPEAT_WITHIN = 60
"""Posts after which a joke may be told again."""


@dataclass(frozen=True)
class Composition:
    """A finished text (at most 280 weighted characters) and the id of the template that it came from."""

    text: str
    template: str


def compose(
    event_id: uuid.UUID, facts: Facts, recent_templates: Sequence[str], jokes: JokeBook
) -> Composition | None:
    """The post about an event; None when there is no joke for its type.

    `recent_templates` are the ids of the last NO_REPEAT_WITHIN posts, newest first. None of those comes again
    while anything else fits; when nothing does, the one that was told longest ago.
    """
    fitting = [template for template in jokes.templates if template.fits(facts)]
    if not fitting:
        return None
    recent = list(recent_templates)
    fresh = [template for template in fitting if template.id not in recent]
    if fresh:
        chosen = max(fresh, key=lambda template: _score(event_id, template))
    else:
        chosen = max(fitting, key=lambda template: recent.index(template.id))
    return Composition(stamped(chosen.render(facts), jokes.stamp(facts)), chosen.id)


def _score(event_id: uuid.UUID, template: Template) -> float:
    # Weighted rendezvous hashing: a new joke in the collection changes the choice of few events. A joke that
    # needs its conditions is favoured, as its chance is rare.
    digest = hashlib.blake2b(event_id.bytes + template.id.encode(), digest_size=8).digest()
    chance = ((int.from_bytes(digest, "big") >> 12) + 0.5) / 2**52
    return -(1 + template.when.rarity) / math.log(chance)
