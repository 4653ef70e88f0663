"""The `peebot` command line: its commands, and how it ends."""

from __future__ import annotations

import errno
import os
import sys

import typer
from rich.console import Console

from peebot_local.commands import alerting, detecting, doctoring, history, posting, running, serving, store
from peebot_local.commands.options import SIGNALS
from peebot_local.errors import MendableError
from peebot_local.interruption import StopRequested
from peebot_local.secret_files import secrets_of_files

app = typer.Typer(
    name="peebot",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Listens to the Space Station and tells the world when an astronaut has used the toilet.",
)
_PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
_MENDABLE = {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS}

# In the order of the help.
app.command()(running.up)
app.command()(running.demo)
app.command(context_settings=_PASS_ON)(running.test)
app.command()(store.migrate)
app.command()(store.retention)
app.command()(store.backup)
app.command()(store.restore)
app.command(context_settings=_PASS_ON)(running.ingest)
app.command(context_settings=_PASS_ON)(running.simulate)
app.command(context_settings=_PASS_ON)(running.live)
app.command()(serving.serve)
app.command()(history.replay)
app.command()(detecting.detect)
app.command()(detecting.compare)
app.command()(detecting.evaluate)
app.command()(store.status)
app.command()(doctoring.doctor)
app.command()(alerting.alert)
app.command()(posting.mute)
app.command()(posting.unmute)
app.command()(posting.compose)
app.command()(history.backfill)
app.command(context_settings=_PASS_ON)(running.bench)
app.command()(running.env)


def main() -> None:
    """Run the command line: a fault that the user can mend is one line on stderr, and exit code 1."""
    errors = Console(stderr=True)
    try:
        with SIGNALS.active():
            os.environ.update(secrets_of_files(os.environ))
            app(prog_name="peebot")
    except MendableError as error:
        for line in error.details:
            errors.print(f"    {line}", markup=False, highlight=False, soft_wrap=True)
        errors.print(f"peebot: {error}", markup=False, highlight=False, soft_wrap=True)
        sys.exit(1)
    except OSError as error:
        if error.errno not in _MENDABLE:
            raise
        place = f" ({error.filename})" if error.filename else ""
        errors.print(
            f"peebot: {error.strerror}{place}; mend that and start again", markup=False, soft_wrap=True
        )
        sys.exit(1)
    except StopRequested:
        sys.exit(130)
