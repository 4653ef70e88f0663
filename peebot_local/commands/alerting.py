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
) -> None:
    """Show the alerts that last just now, or try whether alerts reach you (docs/monitoring.md)."""
    from peebot_local.alerting import lasting, send_test
    from peebot_local.open_store import open_store

    if test:
        lines = send_test(os.environ)
    else:
        with open_store(settings_of_environment(), SIGNALS) as url:
            lines = lasting(url)
    typer.echo("\n".join(lines))
