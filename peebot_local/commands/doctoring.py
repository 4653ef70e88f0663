"""The command that says whether all is well."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from peebot_local.commands.options import AsJson, console


def doctor(
    as_json: AsJson = False,
    backups: Annotated[
        Path | None,
        typer.Option(help="Where backups lie (default: backup in PEEBOT_HOME).", show_default=False),
    ] = None,
) -> None:
    """Check all that can be checked, and say what to do; exit code 1 when something fails."""
    from peebot_local.display import finding_line
    from peebot_local.doctor.examination import examine
    from peebot_local.doctor.finding import worst

    findings = examine(os.environ, datetime.now(UTC), backups)
    if as_json:
        typer.echo(json.dumps([finding.model_dump() for finding in findings]))
    else:
        for finding in findings:
            console().print(finding_line(finding), soft_wrap=True, highlight=False)
    if worst(findings) == "fail":
        raise typer.Exit(1)
