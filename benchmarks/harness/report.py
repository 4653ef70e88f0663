"""How a benchmark is started and reports: one table for people or Markdown, one JSON object."""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from peebot_local.errors import MendableError

NOTHING = "-"
"""What a table shows where there is no figure."""


@dataclass(frozen=True)
class Report:
    """The result of a benchmark: `result` is the JSON, `rows` under `columns` is the table."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    result: dict[str, Any]


def parser(name: str, description: str) -> argparse.ArgumentParser:
    """Arguments that every benchmark has."""
    arguments = argparse.ArgumentParser(prog=f"peebot bench {name}", description=description)
    arguments.add_argument("--json", type=Path, metavar="FILE", help="write the result as one JSON object")
    arguments.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    return arguments


def run(name: str, measure: Callable[[], Report], options: argparse.Namespace) -> int:
    """Measure and deliver; the exit code. What the user can mend is told in plain lines."""
    end_cleanly_on_signals()
    try:
        report = measure()
    except MendableError as error:
        for line in error.details:
            sys.stderr.write(f"    {line}\n")
        sys.stderr.write(f"peebot bench {name}: {error}\n")
        return 1
    deliver(report, options)
    return 0


def deliver(report: Report, options: argparse.Namespace) -> None:
    """Print the table; write the JSON."""
    if options.markdown:
        sys.stdout.write(_markdown(report))
    else:
        table = Table(*report.columns, title=report.title, title_justify="left")
        for row in report.rows:
            table.add_row(*row)
        Console(width=None if sys.stdout.isatty() else 140).print(table)
    if options.json is not None:
        options.json.write_text(json.dumps(report.result) + "\n", encoding="utf-8")


def circumstances(store: str) -> dict[str, Any]:
    """Where, when and by which command this is measured."""
    memory_gb = psutil.virtual_memory().total / 1e9
    return {
        "machine": f"{os.cpu_count()} CPUs ({_processor()}), {memory_gb:.0f} GB RAM, {platform.system()}",
        "python": platform.python_version(),
        "store": store,
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": " ".join(["./peebot bench", Path(sys.argv[0]).stem, *sys.argv[1:]]),
        "load_average_before": round(psutil.getloadavg()[0], 2),
    }


def progress(text: str) -> None:
    """Tell on stderr what is being measured."""
    Console(stderr=True).print(text, style="dim", markup=False, highlight=False, soft_wrap=True)


def end_cleanly_on_signals() -> None:
    """Let SIGTERM run the clean-up, as Ctrl-C does."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


def number(value: float | None, digits: int = 0) -> str:
    """A figure for people, or NOTHING."""
    return NOTHING if value is None else f"{value:,.{digits}f}"


def _markdown(report: Report) -> str:
    lines = [
        f"**{report.title}**",
        "",
        "| " + " | ".join(report.columns) + " |",
        "|" + "---|" * len(report.columns),
        *("| " + " | ".join(row) + " |" for row in report.rows),
    ]
    return "\n".join(lines) + "\n"


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
