"""The command that runs one process of PeeBot on a server."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from peebot_local.commands.options import settings_of_environment


def serve(
    name: Annotated[
        str,
        typer.Argument(
            help="ingest, code-server, dagster-daemon, webserver, live or celery-worker.", show_default=False
        ),
    ],
    host: Annotated[
        str | None,
        typer.Option(
            help="To listen on; ingest: with its metrics, or PEEBOT_METRICS_HOST.  [default: 127.0.0.1]",
            show_default=False,
        ),
    ] = None,
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, show_default=False, help="To listen on.")
    ] = None,
    read_only: Annotated[
        bool, typer.Option("--read-only", help="A UI that starts and stops nothing.")
    ] = False,
    behind_login: Annotated[
        bool, typer.Option("--behind-login", help="What is in front of --host asks for a login.")
    ] = False,
) -> None:
    """Run one process of PeeBot in the foreground, for a server (docs/deployment.md)."""
    from peebot_local.database import require_known_schema
    from peebot_local.serve import listening_host, replace_process, require_guarded, served

    where = listening_host(name, host, os.environ)
    require_guarded(where, behind_login)
    settings = settings_of_environment()
    child = served(name, settings, os.environ, where, port, read_only)
    if settings.database_url is not None:
        require_known_schema(settings.database_url.get_secret_value(), newest=True)
    replace_process(child)
