"""The command that says whether all is well."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from peebot_local.commands.options import AsJson, console, settings_of_environment

FAILING_AND_TOLD = 3
"""An exit code that Python has for no fault."""


def doctor(
    as_json: AsJson = False,
    backups: Annotated[
        Path | None,
        typer.Option(help="Where backups lie (default: backup in PEEBOT_HOME).", show_default=False),
    ] = None,
    alert: Annotated[
        bool,
        typer.Option(
            "--alert",
            help="Also tell whom PEEBOT_ALERT_URLS names what fails: once, each day, and when over.",
        ),
    ] = False,
) -> None:
    """Check all that can be checked, and say what to do; exit code 1 when something fails.

    With --alert it is 3, so that 1 is a fault of the doctor's own, of which nobody has heard.
    """
    from peebot_local.display import finding_line
    from peebot_local.doctor.examination import examine
    from peebot_local.doctor.finding import worst

    now = datetime.now(UTC)
    findings = examine(os.environ, now, backups)
    if as_json:
        typer.echo(json.dumps([finding.model_dump() for finding in findings]))
    else:
        for finding in findings:
            console().print(finding_line(finding), soft_wrap=True, highlight=False)
    if alert:
        from peebot_local.doctor.telling import tell

        home = settings_of_environment().home
        tell(findings, home / "doctor" / "told.json", os.environ, now)
    if worst(findings) == "fail":
        raise typer.Exit(FAILING_AND_TOLD if alert else 1)
