"""The children's log files: bounded in size, and read back when a child keeps dying."""

from __future__ import annotations

import shutil
from pathlib import Path

LARGEST_LOG_BYTES = 10_000_000


def rotate(log: Path, largest: int = LARGEST_LOG_BYTES) -> None:
    """Move the content of a large log to `.1`; its writer (append mode) goes on with an empty file."""
    if log.exists() and log.stat().st_size > largest:
        shutil.copyfile(log, log.with_suffix(log.suffix + ".1"))
        with log.open("r+b") as content:
            content.truncate(0)


def last_lines(log: Path, count: int = 12) -> tuple[str, ...]:
    """The last lines of a log, without reading all of it."""
    if not log.exists():
        return ()
    with log.open("rb") as content:
        size = content.seek(0, 2)
        content.seek(max(0, size - 16_384))
        lines = content.read().decode(errors="replace").splitlines()
    return tuple(line for line in lines if line.strip())[-count:]
