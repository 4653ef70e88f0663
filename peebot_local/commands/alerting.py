"""The command about alerts."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from peebot_local.commands.options import SIGNALS, settings_of_environment


def alert(
    test: Annotated[
        bool, typer.Option("--test", help="Send a test message to each destination instead.")
    ] = False,
    tell: Annotated[
        str, typer.Option(help="Send this to each destination instead; no database is needed.")
    ] = "",
) -> None:
    """Show the alerts that last just now, or try whether alerts reach you (docs/monitoring.md)."""
    from peebot_dagster.alerts.messages import TEST_MESSAGE, Message
    from peebot_local.alerting import lasting, send
    from peebot_local.open_store import open_store

    if test or tell:
        lines = send(os.environ, Message(f"PeeBot: {tell}", tell, good=False) if tell else TEST_MESSAGE)
    else:
        with open_store(settings_of_environment(), SIGNALS) as url:
            lines = lasting(url)
    typer.echo("\n".join(lines))
