"""The facts about this machine, gathered. Nothing is changed."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

from peebot_dagster.ingest_metrics import METRICS_PORT
from peebot_local.database import PROJECT
from peebot_local.doctor.host import FolderFacts, HostFacts, Listener
from peebot_local.home import Home
from peebot_local.secret_files import SECRETS
from peebot_local.settings import Settings

_PINNED = re.compile(r"^([A-Za-z0-9._-]+)==([^ ;\\]+) \\$", re.MULTILINE)
"""Those without a condition on the platform."""
_LOCK = PROJECT / "requirements.lock"
_INSTALLED_UNITS = Path("/etc/systemd/system")
_OURS = re.compile(
    r"(^| )-m (ingest_daemon|iss_simulator|peebot_\w+(\.\w+)?)( |$)|dagster-(webserver|daemon)|peebot.*redis"
)


def host_facts(
    settings: Settings, environment: Mapping[str, str], database_folder: Path | None, backup_bytes: int = 0
) -> HostFacts:
    """What there is; `database_folder` is that of a database on this machine, if its server tells it.

    `backup_bytes`: the size of the newest backup.
    """
    home = Home(settings.home)
    folders = {
        f"PEEBOT_HOME ({settings.home})": settings.home,
        "the database": database_folder,
        "the spool": Path(environment["PEEBOT_SPOOL"]) if environment.get("PEEBOT_SPOOL") else None,
    }
    ports = {
        "PEEBOT_UI_PORT": settings.ui_port,
        "PEEBOT_LIVE_PORT": settings.live_port,
        "PEEBOT_CODE_SERVER_PORT": settings.code_server_port,
        # `up` takes a free one, which it knows itself.
        "PEEBOT_METRICS_PORT": settings.metrics_port or (METRICS_PORT if settings.database_url else None),
    }
    files = [Path(path) for name in SECRETS if (path := environment.get(f"{name}_FILE"))]
    return HostFacts(
        python=sys.version_info[:2],
        user=os.geteuid(),
        differing=dict(_differing(_LOCK.read_text(encoding="utf-8"))) if _LOCK.exists() else {},
        home=_folder(settings.home),
        home_path=settings.home,
        parts=_parts(settings.home),
        stale_units=stale_units(PROJECT / "deploy" / "systemd", _INSTALLED_UNITS),
        backup_mb=backup_bytes // 1_000_000,
        secrets=[facts for file in (*files, home.postgres.root / "password") if (facts := _folder(file))],
        free_mb=_free({what: path for what, path in folders.items() if path is not None}),
        listeners=list(_listeners()),
        ports={variable: port for variable, port in ports.items() if port is not None},
    )


def _differing(lock: str) -> Iterator[tuple[str, str]]:
    for name, wanted in _PINNED.findall(lock):
        # An extra or a tool of developers may be left out, and what is needed is imported anyway.
        with suppress(PackageNotFoundError):
            if (here := version(name)) != wanted:
                yield name, here


def _folder(path: Path) -> FolderFacts | None:
    try:
        status = path.stat()
    except (FileNotFoundError, PermissionError):
        return None
    return FolderFacts(path, status.st_uid, status.st_mode & 0o7777)


def _parts(home: Path) -> list[FolderFacts]:
    try:
        with os.scandir(home) as entries:
            folders = [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return []
    return [facts for folder in folders if (facts := _folder(folder))]


def stale_units(ours: Path, installed: Path) -> list[str]:
    """Units and drop-ins of ours that are not installed as they are; none where nothing is installed."""
    if not (installed / "peebot.target").exists():
        return []
    names = (str(file.relative_to(ours)) for file in sorted(ours.rglob("*")) if file.is_file())
    return [
        name
        for name in names
        if not name.endswith(".example") and _text(ours / name) != _text(installed / name)
    ]


def _text(file: Path) -> str | None:
    try:
        return file.read_text(encoding="utf-8")
    except OSError:
        return None


def _free(folders: Mapping[str, Path]) -> dict[str, int]:
    """Each volume once: two folders on the same one are one line."""
    free: dict[int, tuple[str, int]] = {}
    for what, path in folders.items():
        there = next((folder for folder in (path, *path.parents) if folder.exists()), None)
        if there is None:
            continue
        device = there.stat().st_dev
        names = f"{free[device][0]} and {what}" if device in free else what
        free[device] = (names, shutil.disk_usage(there).free // 1_000_000)
    return dict(free.values())


def _listeners() -> Iterator[Listener]:
    """All of this machine; where only root may see them (macOS), those of this user's processes."""
    try:
        sockets = [(socket, socket.pid) for socket in psutil.net_connections(kind="tcp")]
    except psutil.AccessDenied:
        sockets = list(_own_sockets())
    for socket, pid in sockets:
        if socket.status == psutil.CONN_LISTEN and socket.laddr:
            name, ours = _program(pid)
            yield Listener(name, socket.laddr.ip, socket.laddr.port, ours)


def _own_sockets() -> Iterator[tuple[Any, int]]:
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            for socket in process.net_connections(kind="tcp"):
                yield socket, process.pid


def _program(pid: int | None) -> tuple[str, bool]:
    """What a process is called, and whether it is one of PeeBot's."""
    try:
        process = psutil.Process(pid) if pid else None
        found = _OURS.search(" ".join(process.cmdline())) if process else None
        if found:
            return found[0].strip().removeprefix("-m "), True
        return (process.name() if process else "another user's program"), False
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return "another user's program", False
