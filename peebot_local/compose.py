"""`peebot compose`: a page of posts to read, with the facts that each was chosen by."""

from __future__ import annotations

from datetime import date

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from peebot_dagster.posts.examples import Example, examples
from peebot_dagster.posts.jokes import JokesError, load_jokes
from peebot_dagster.posts.weighted_length import weighted_length
from peebot_local.errors import MendableError


def show_examples(console: Console, count: int, seed: int, day: date, event_type: str) -> None:
    """Print `count` posts about a made-up station, from `day` (UTC) on."""
    try:
        found = examples(count, seed, day, load_jokes(), event_type)
    except JokesError as error:
        raise MendableError(f"the jokes are not usable: {error}") from error
    except ValueError as error:
        raise MendableError(str(error)) from error
    for number, example in enumerate(found, 1):
        console.print(_entry(number, example))


def _entry(number: int, example: Example) -> RenderableType:
    facts = ", ".join(f"{name} {_told(value)}" for name, value in example.known.items())
    heading = f"{number}. {example.post.template} ({weighted_length(example.post.text)} of 280)"
    return Group(
        Text(heading, style="bold"),
        Padding(Text(example.post.text), (0, 0, 0, 4)),
        Padding(Text(facts, style="dim"), (0, 0, 1, 4)),
    )


def _told(value: object) -> str:
    if hasattr(value, "strftime"):
        return f"{value:%Y-%m-%d %H:%M}"
    return f"{value:.0f}" if isinstance(value, float) else str(value)
