"""The finding about what was heard and waits on disk for the database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from peebot_local.doctor.finding import Finding, ok, warn

SPOOL_WARN = 1000
_FORGOTTEN_MB = 0.1


@dataclass(frozen=True)
class SpoolFacts:
    """What the daemon and the disk tell of the spool.

    `readings` are those that the daemon tells of, None when none answers at `metrics_url`; `sought` are the
    folders in which a daemon of this environment spools, `seen` those of them that are there, and `files_mb`
    what their files take.
    """

    metrics_url: str
    readings: int | None
    sought: Sequence[Path]
    seen: Sequence[Path]
    files_mb: float


def examine_spool(facts: SpoolFacts) -> Finding:
    """Whether what was heard waits on disk, as far as somebody can tell."""
    if facts.readings is not None:
        text = f"{facts.readings:,} updates wait on disk, says the daemon at {facts.metrics_url}"
        if facts.readings <= SPOOL_WARN:
            return ok("spool", text)
        return warn(
            "spool",
            text,
            "they are stored once the database takes them; if they grow, its log and its disk tell why",
        )
    if not facts.seen:
        return warn(
            "spool",
            f"no daemon answers at {facts.metrics_url}, and there is no spool in {_named(facts.sought)}",
            "start the daemon; or say where it is: PEEBOT_METRICS_HOST and _PORT, PEEBOT_SPOOL",
        )
    text = (
        f"{facts.files_mb:.1f} MB wait in {_named(facts.seen)}, and no daemon answers at {facts.metrics_url}"
    )
    if facts.files_mb < _FORGOTTEN_MB:
        return ok("spool", text)
    return warn(
        "spool",
        text,
        "start the daemon (./peebot up, or systemctl start peebot@ingest): it stores them first",
    )


def _named(folders: Sequence[Path]) -> str:
    return " or ".join(map(str, folders))
