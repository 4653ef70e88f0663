"""A unit's command in what of its sandbox works without systemd.

An ordinary user without capabilities and new privileges, a file system of which only the state directory can
be written, and nobody's home to be seen. What needs systemd as the first process (system call filters,
restarts) is not run.
"""

from __future__ import annotations

import os
import pwd
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).parents[2]
UNITS = ROOT / "deploy" / "systemd"
INSTALLED = "/opt/peebot"
Unit = dict[str, dict[str, list[str]]]

_SCRIPT = """
set -e
# What Python is installed in may be in a home.
number=0
for folder in $KEPT; do
    number=$((number + 1)); mkdir -p "$PARKED/$number"; mount --bind "$folder" "$PARKED/$number"
done
for home in $CLOSED; do mount -t tmpfs -o mode=755 tmpfs "$home"; done
number=0
for folder in $KEPT; do
    number=$((number + 1)); mkdir -p "$folder"; mount --bind "$PARKED/$number" "$folder"
    mount -o remount,bind,ro "$folder"
done
mount --bind "$STATE" "$STATE"
mount -o remount,bind,ro /
exec setpriv --reuid="$WHO" --regid="$GROUP" --clear-groups --no-new-privs \\
    --bounding-set=-all --inh-caps=-all "$@"
"""


def unit(*files: Path) -> Unit:
    """A unit with its drop-ins: section → key → values in order."""
    sections: Unit = {}
    for file in files:
        section: dict[str, list[str]] = {}
        for line in file.read_text("utf-8").splitlines():
            if line.startswith("["):
                section = sections.setdefault(line.strip("[]"), {})
            elif "=" in line and not line.startswith("#"):
                key, _, value = line.partition("=")
                values = section.setdefault(key, [])
                # An empty one takes back those before it.
                if value == "" and key in ("ExecStart", "LoadCredential"):
                    values.clear()
                else:
                    values.append(value)
    return sections


def unit_of(process: str) -> Unit:
    """That of peebot@process."""
    drop_ins = sorted((UNITS / f"peebot@{process}.service.d").glob("*.conf"))
    return unit(UNITS / "peebot@.service", *drop_ins)


def job_of(name: str) -> Unit:
    """That of peebot-name."""
    return unit(UNITS / f"peebot-{name}.service", *sorted((UNITS / "peebot-.service.d").glob("*.conf")))


@dataclass(frozen=True)
class Sandbox:
    """Where units run: `etc` stands for /etc/peebot, `state` for /var/lib/peebot, for the user nobody."""

    tool: Callable[[str], str]
    folder: Path
    environment: Mapping[str, str]

    @property
    def etc(self) -> Path:
        return self.folder / "etc"

    @property
    def state(self) -> Path:
        return self.folder / "state"

    def make(self) -> None:
        """The folders; `etc` is not for nobody's eyes."""
        self.etc.mkdir(mode=0o700)
        self.state.mkdir(mode=0o700)
        self.folder.chmod(0o755)
        self.give(self.state)

    def give(self, path: Path) -> None:
        """Make it the user's."""
        user = pwd.getpwnam("nobody")
        os.chown(path, user.pw_uid, user.pw_gid)

    def with_environment(self, **more: str) -> Sandbox:
        """The same with more settings."""
        return replace(self, environment={**self.environment, **more})

    @contextmanager
    def runs(
        self, name: str, service: dict[str, list[str]], words: Mapping[str, str] | None = None
    ) -> Iterator[subprocess.Popen[bytes]]:
        """The service's ExecStart while it runs; ended at the end if it has not ended by itself.

        `words` replaces words of the command.
        """
        (command,) = service["ExecStart"]
        own, credentials = self.state / name, self.state / f"{name}.credentials"
        for folder in (own, credentials):
            folder.mkdir(mode=0o700)
            self.give(folder)
        for line in service.get("LoadCredential", []):
            credential, _, source = line.partition(":")
            copy = credentials / credential
            copy.write_bytes((self.etc / Path(source).name).read_bytes())
            self.give(copy)
            copy.chmod(0o400)

        meant = {
            "/var/lib/peebot": str(self.state),
            f"{INSTALLED}/.venv/bin/python": sys.executable,
            **{"%i": name, "%d": str(credentials), "%%": "%", "$$": "$"},
        }

        def expanded(text: str) -> str:
            return re.sub("|".join(map(re.escape, meant)), lambda found: meant[found[0]], text)

        given = dict(pair.split("=", 1) for line in service["Environment"] for pair in line.split())
        user = pwd.getpwnam("nobody")
        kept, closed = _hidden()
        running = subprocess.Popen(
            [
                *(self.tool("unshare"), "--mount", "--propagation", "private", "sh", "-c", _SCRIPT, "sh"),
                *(expanded((words or {}).get(word, word)) for word in shlex.split(command)),
            ],
            cwd=ROOT,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(self.state),
                "TMPDIR": str(own),
                "STATE": str(self.state),
                "PARKED": str(self.folder / f"parked-{name}"),
                "KEPT": " ".join(kept),
                "CLOSED": " ".join(closed),
                "WHO": str(user.pw_uid),
                "GROUP": str(user.pw_gid),
                **{variable: expanded(value) for variable, value in given.items()},
                **self.environment,
            },
        )
        try:
            yield running
        finally:
            if running.poll() is None:
                running.send_signal(signal.SIGTERM)
            running.wait(timeout=60)


def _hidden() -> tuple[list[str], list[str]]:
    """Of what Python needs: the folders that another user cannot reach, and the homes that close them off."""
    kept, closed = [], set()
    for folder in {ROOT, Path(sys.prefix).resolve(), Path(sys.base_prefix).resolve()}:
        shut = [parent for parent in reversed(folder.parents) if not parent.stat().st_mode & 0o001]
        if shut:
            kept.append(str(folder))
            closed.add(str(shut[0]))
    return sorted(kept), sorted(closed)
