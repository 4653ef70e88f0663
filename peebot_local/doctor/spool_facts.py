"""The facts about the spool, gathered. Nothing is changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path

from peebot_dagster.ingest_metrics import METRICS_PORT, read_depths
from peebot_live.binding import LOOPBACK
from peebot_local.doctor.spool import SpoolFacts
from peebot_local.settings import Settings


def spool_facts(
    settings: Settings, environment: Mapping[str, str], metrics_url: str | None = None
) -> SpoolFacts:
    """What waits; `metrics_url` is that of a runner's daemon, else it is where `serve ingest` has it."""
    url = metrics_url or metrics_url_of(environment.get("PEEBOT_METRICS_HOST"), settings.metrics_port)
    sought = _folders(settings.home, environment.get("PEEBOT_SPOOL"))
    seen = [folder for folder in sought if _is_there(folder)]
    return SpoolFacts(
        metrics_url=url,
        readings=read_depths(url).spool_readings,
        sought=sought,
        seen=seen,
        files_mb=sum(size for folder in seen for size in _sizes(folder)) / 1_000_000,
    )


def metrics_url_of(host: str | None, port: int | None) -> str:
    """Where a daemon on that host (of PEEBOT_METRICS_HOST) tells its metrics."""
    host = host or LOOPBACK
    with suppress(ValueError):  # It may be a name.
        address = ip_address(host)
        if address.is_unspecified:
            # Who listens everywhere is asked on this machine.
            host = LOOPBACK if address.version == 4 else "::1"
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{port or METRICS_PORT}/metrics"


def _folders(home: Path, given: str | None) -> list[Path]:
    """Under systemd the home of each process is a folder of its own in the home that all share."""
    return [Path(given)] if given else [home / "spool", home / "ingest" / "spool"]


def _is_there(folder: Path) -> bool:
    try:
        return folder.is_dir()
    except PermissionError:
        # Another user's: what waits there cannot be seen.
        return False


def _sizes(folder: Path) -> Iterator[int]:
    for file in folder.rglob("*.spool"):
        with suppress(FileNotFoundError):  # Stored meanwhile.
            yield file.stat().st_size
