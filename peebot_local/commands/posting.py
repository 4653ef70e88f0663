"""Commands about what is posted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from peebot_local.commands.options import SIGNALS, console, moment_of_text, settings_of_environment


def _span(text: str) -> timedelta:
    from peebot_local.muting import span

    try:
        return span(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def mute(
    length: Annotated[
        timedelta | None,
        typer.Option(
            "--for",
            parser=_span,
            metavar="SPAN",
            help="How long, as in 30m, 2h or 1d12h.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Post nothing, on no platform, at once: for a while, or until unmute."""
    from peebot_local.muting import silence
    from peebot_local.open_store import open_store

    with open_store(settings_of_environment(), SIGNALS) as url:
        typer.echo(silence(url, datetime.now(UTC), length))


def unmute() -> None:
    """Post again."""
    from peebot_local.muting import speak
    from peebot_local.open_store import open_store

    with open_store(settings_of_environment(), SIGNALS) as url:
        typer.echo(speak(url))


def compose(
    examples: Annotated[int, typer.Option(min=1, max=5_000, help="How many posts.")] = 10,
    seed: Annotated[int, typer.Option(help="Another number, another station.")] = 1,
    day: Annotated[
        datetime | None,
        typer.Option(
            "--date",
            parser=moment_of_text,
            metavar="DATE",
            help="The day on which they begin, as in 2026-12-24.",
        ),
    ] = None,
    event: Annotated[str, typer.Option(help="The type of event that they are about.")] = "toilet_visit",
) -> None:
    """Print posts about a made-up station, to read them before the world does; sends nothing."""
    from peebot_local.compose import show_examples

    show_examples(console(), examples, seed, (day or datetime.now(UTC)).date(), event)
