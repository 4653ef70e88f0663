"""What several commands share: the settings, the console, signals, and options of one meaning."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from peebot_local.interruption import StopSignals
from peebot_local.settings import Settings

SIGNALS = StopSignals()

RECORDING_HELP = "CSV, plain or .gz: ts_utc,value or ts_utc,item,value or timestamp_hours,item,value."


def moment_of_text(text: str) -> datetime:
    """The moment (UTC) that an ISO 8601 text names; without an offset it is UTC."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no ISO 8601 time, as in 2025-01-02T06:00Z") from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


FROM_CSV = typer.Option(
    help="A recording instead of the database; --from, --to or both select the events that begin then."
)
FROM = typer.Option(
    "--from", parser=moment_of_text, metavar="TIME", help="Begin, in ISO 8601; UTC unless it says otherwise."
)
TO = typer.Option("--to", parser=moment_of_text, metavar="TIME", help="End, exclusive.")
FromCsv = Annotated[Path | None, FROM_CSV]
From = Annotated[datetime | None, FROM]
To = Annotated[datetime | None, TO]
Item = Annotated[str | None, typer.Option(help="The channel of a recording without an item column.")]
Year = Annotated[
    int | None, typer.Option(min=1998, max=2261, help="The year of a recording in timestamp_hours.")
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON value on one line.")]


def settings_of_environment(more: Mapping[str, str] | None = None) -> Settings:
    """The settings that the environment gives; those of `more` count before it."""
    return Settings.from_environment({**os.environ, **(more or {})})


def console() -> Console:
    """Where a command shows its result."""
    return Console(stderr=False)
