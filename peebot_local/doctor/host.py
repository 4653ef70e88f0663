"""Findings about this machine: Python, packages, folders, disks, and what listens on its ports."""

from __future__ import annotations

import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

from peebot_live.binding import is_loopback
from peebot_local.doctor.finding import Finding, fail, ok, warn

PYTHONS = ((3, 11), (3, 14))
"""The oldest and the newest minor version that is supported."""

FREE_MB_TO_WORK = 500
FREE_MB_TO_SLEEP = 2000
"""A day of a busy feed, beside a backup as large as the last one; less may be full by tomorrow."""


@dataclass(frozen=True)
class FolderFacts:
    """A folder or a file: `owner` is a user id, `mode` its permission bits; of what is not there, None."""

    path: Path
    owner: int
    mode: int


@dataclass(frozen=True)
class Listener:
    """A process that takes connections on a TCP port of this machine."""

    process: str
    host: str
    port: int
    ours: bool
    """Whether the process is one of PeeBot's."""


@dataclass(frozen=True)
class HostFacts:
    """What was read of this machine. `differing` are packages other than in the lock, with their version."""

    python: tuple[int, int]
    user: int
    differing: Mapping[str, str]
    home: FolderFacts | None
    home_path: Path
    secrets: Sequence[FolderFacts]
    free_mb: Mapping[str, int]
    """Free space (MB) by what the volume is for."""
    listeners: Sequence[Listener]
    ports: Mapping[str, int] = field(default_factory=dict)
    """Ports that will be needed, by the variable that sets them."""
    parts: Sequence[FolderFacts] = ()
    """The folders in the home."""
    backup_mb: int = 0
    """The size of the newest backup."""
    stale_units: Sequence[str] = ()
    """Units of systemd that are installed otherwise than this version has them, or not at all."""


def examine_host(facts: HostFacts) -> list[Finding]:
    """What to mend on this machine."""
    return [
        _python(facts.python),
        _packages(facts.differing),
        _home(facts),
        *_secrets(facts.secrets),
        *(_space(what, megabytes, facts.backup_mb) for what, megabytes in facts.free_mb.items()),
        *_hosts(facts.listeners),
        *_ports(facts),
        *_units(facts.stale_units),
    ]


def _python(version: tuple[int, int]) -> Finding:
    text = f"Python {version[0]}.{version[1]}"
    if PYTHONS[0] <= version <= PYTHONS[1]:
        return ok("python", text)
    (_, oldest), (_, newest) = PYTHONS
    advice = f"install Python 3.{oldest} to 3.{newest}, remove .venv, and start ./peebot again"
    return fail("python", text, advice)


def _packages(differing: Mapping[str, str]) -> Finding:
    if not differing:
        return ok("packages", "each package has the version of requirements.lock")
    some = ", ".join(f"{name} ({version})" for name, version in list(differing.items())[:5])
    more = f" and {len(differing) - 5} more" if len(differing) > 5 else ""
    return warn(
        "packages",
        f"other than in requirements.lock: {some}{more}",
        "remove .venv/peebot-installed and start ./peebot: it installs what the lock says",
    )


def _home(facts: HostFacts) -> Finding:
    home = facts.home
    if home is None:
        return ok("home", f"{facts.home_path} is not there yet; the first start makes it")
    if _is_of_services(home, facts):
        return ok("home", f"{home.path} belongs to root, and each folder in it to its user")
    if home.owner != facts.user and facts.user != 0:
        advice = f"run this as the user that runs PeeBot, or: sudo chown -R USER {home.path}"
        return fail("home", f"{home.path} belongs to another user ({home.owner})", advice)
    if home.mode & (stat.S_IWGRP | stat.S_IWOTH):
        return warn("home", f"others may write into {home.path}", f"chmod go-w {home.path}")
    return ok("home", f"{home.path} belongs to its user, and nobody else writes there")


def _is_of_services(home: FolderFacts, facts: HostFacts) -> bool:
    """systemd makes the folder of each service in a home that stays root's and that none of them writes."""
    closed = not home.mode & (stat.S_IWGRP | stat.S_IWOTH)
    own = [part.owner == facts.user for part in facts.parts]
    return home.owner == 0 != facts.user and closed and bool(own) and all(own)


def _secrets(secrets: Sequence[FolderFacts]) -> list[Finding]:
    open_ones = [
        warn(
            "secret_files",
            f"others than its owner can read {secret.path} (mode {secret.mode:o})",
            f"chmod 600 {secret.path}",
        )
        for secret in secrets
        if secret.mode & 0o077
    ]
    return open_ones or [ok("secret_files", f"{len(secrets)} files with secrets, none open to others")]


def _space(what: str, megabytes: int, backup_mb: int) -> Finding:
    text = f"{megabytes:,} MB are free for {what}"
    if megabytes < FREE_MB_TO_WORK:
        return fail("disk", text, "free some space now (docs/operations.md, Disk full)")
    wanted = FREE_MB_TO_SLEEP + backup_mb
    if megabytes < wanted:
        return warn(
            "disk", text, f"{wanted:,} MB are wanted for a day and a backup; free some, or ./peebot retention"
        )
    return ok("disk", text)


def _hosts(listeners: Sequence[Listener]) -> list[Finding]:
    exposed = [listener for listener in listeners if listener.ours and not is_loopback(listener.host)]
    if not exposed:
        return [ok("open_hosts", "no process of PeeBot that is seen here listens beyond this machine")]
    return [
        warn(
            "open_hosts",
            f"{listener.process} listens on {listener.host}:{listener.port}",
            "it asks for no login: have only a proxy with one, or an inner network, reach that port",
        )
        for listener in exposed
    ]


def _ports(facts: HostFacts) -> list[Finding]:
    taken = {
        listener.port: listener
        for listener in facts.listeners
        if not listener.ours and (is_loopback(listener.host) or ip_address(listener.host).is_unspecified)
    }
    strangers = [
        warn(
            "ports",
            f"port {port} is taken by {taken[port].process}",
            f"stop that, or set {variable} to another port",
        )
        for variable, port in facts.ports.items()
        if port in taken
    ]
    return strangers or [ok("ports", "no port that PeeBot needs is taken by another program")]


def _units(stale: Sequence[str]) -> list[Finding]:
    if not stale:
        return []
    return [
        warn(
            "units",
            f"in /etc/systemd/system other than here: {', '.join(stale)}",
            "sudo cp -r deploy/systemd/* /etc/systemd/system/ && sudo systemctl daemon-reload, and restart; "
            "changes of your own belong into drop-ins",
        )
    ]
