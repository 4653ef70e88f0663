"""Several hosts on one machine: a network namespace each, all on one switch, with links that can be cut."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest

from peebot_local.embedded_postgres import SUPERUSER, EmbeddedPostgres, server_environment

SERVE = (sys.executable, "-P", "-m", "peebot_local", "serve")
_SWITCH = "switch"
_NETWORK = "10.77.0"
_ASK = """
import json, sys, urllib.request
url, query, variables = json.load(sys.stdin)
body = json.dumps({"query": query, "variables": variables}).encode()
request = urllib.request.Request(url + "/graphql", body, {"Content-Type": "application/json"})
print(urllib.request.urlopen(request, timeout=30).read().decode())
"""


def require_namespaces() -> None:
    """Skip the test where hosts cannot be made; in CI that is a failure."""
    reason = None
    if os.geteuid() != 0:
        reason = "only root can make network namespaces"
    elif shutil.which("ip") is None:
        reason = "there is no `ip` here (Debian: apt install iproute2)"
    elif (tried := _ip("netns", "add", f"pb{os.getpid()}-try")).returncode != 0:
        reason = f"no network namespaces here: {tried.stderr.strip()}"
    else:
        _ip("netns", "delete", f"pb{os.getpid()}-try")
    if reason is not None:
        assert "PEEBOT_REQUIRE_NAMESPACES" not in os.environ, reason
        pytest.skip(reason)


def _ip(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["ip", *arguments], text=True, capture_output=True, check=False)


@dataclass
class Hosts:
    """The hosts by their names; `folder` is all that they share, and only the test looks into it."""

    folder: Path
    addresses: dict[str, str] = field(default_factory=dict)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def add(self, *names: str) -> None:
        """Plug in more hosts."""
        if not self.addresses:
            self._run("netns", "add", self._namespace(_SWITCH))
            self._on(_SWITCH, "link", "add", "bridge", "type", "bridge")
            self._on(_SWITCH, "link", "set", "bridge", "up")
        for name in names:
            address = f"{_NETWORK}.{len(self.addresses) + 1}"
            self._run("netns", "add", self._namespace(name))
            peer = ("peer", "name", "net", "netns", self._namespace(name))
            self._on(_SWITCH, "link", "add", name, "type", "veth", *peer)
            self._on(_SWITCH, "link", "set", name, "master", "bridge", "up")
            self._on(name, "link", "set", "lo", "up")
            self._on(name, "address", "add", f"{address}/24", "dev", "net")
            self._on(name, "link", "set", "net", "up")
            self.addresses[name] = address

    def cut_off(self, name: str) -> None:
        """Pull the cable: nobody is told."""
        self._on(_SWITCH, "link", "set", name, "down")

    def heal(self, name: str) -> None:
        """Plug it in again."""
        self._on(_SWITCH, "link", "set", name, "up")

    def command(self, host: str, *command: str) -> list[str]:
        """The command as it runs on that host."""
        return ["ip", "netns", "exec", self._namespace(host), *command]

    def start(self, host: str, name: str, command: list[str], environment: Mapping[str, str]) -> None:
        """Start a process there; its log is `NAME.log` of the folder."""
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                self.command(host, *command),
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                start_new_session=True,
            )

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def ask(self, host: str, ui_url: str, query: str, **variables: Any) -> Any:
        """What Dagster's UI answers to that host; None when it does not."""
        asked = subprocess.run(
            self.command(host, sys.executable, "-c", _ASK),
            input=json.dumps([ui_url, query, variables]),
            text=True,
            capture_output=True,
            check=False,
        )
        return json.loads(asked.stdout)["data"] if asked.returncode == 0 else None

    def wait_for(self, condition: Callable[[], Any], timeout_s: float, what: str) -> Any:
        """The first true answer; who has ended, and what was said last, when it does not come in time."""
        deadline = time.monotonic() + timeout_s
        while not (answer := condition()):
            assert time.monotonic() < deadline, f"not in time: {what}\n{self._last_words()}"
            time.sleep(0.2)
        return answer

    def unplug_all(self) -> None:
        """Kill every process of every host, and take the hosts away."""
        for name in (*self.addresses, _SWITCH):
            for pid in _ip("netns", "pids", self._namespace(name)).stdout.split():
                try:
                    os.kill(int(pid), 9)
                except ProcessLookupError:
                    continue  # it has ended by itself
        for process in self.processes.values():
            process.wait(timeout=30)
        for name in (*self.addresses, _SWITCH):
            _ip("netns", "delete", self._namespace(name))

    def _last_words(self) -> str:
        told = []
        for name, process in self.processes.items():
            ended = "" if process.poll() is None else f" (ended with {process.returncode})"
            told.append(f"--- {name}{ended}\n" + "\n".join(self.log(name).splitlines()[-12:]))
        return "\n".join(told)

    def _namespace(self, name: str) -> str:
        return f"pb{os.getpid()}-{name}"

    def _on(self, name: str, *arguments: str) -> None:
        self._run("-n", self._namespace(name), *arguments)

    def _run(self, *arguments: str) -> None:
        done = _ip(*arguments)
        assert done.returncode == 0, f"ip {' '.join(arguments)}: {done.stderr}"


@dataclass(frozen=True)
class Database:
    """PostgreSQL on a host: `url` is for the other hosts, `socket_url` for the test."""

    url: str
    socket_url: str


@contextmanager
def hosts() -> Iterator[Hosts]:
    """No hosts yet; all that were added are gone after the block."""
    # Not below pytest's own folder, which each new session of pytest closes to PostgreSQL's user.
    folder = Path(tempfile.mkdtemp(prefix="peebot-hosts-"))
    folder.chmod(0o755)
    network = Hosts(folder)
    try:
        yield network
    finally:
        network.unplug_all()
        shutil.rmtree(folder)


def start_database(network: Hosts, host: str) -> Database:
    """A PostgreSQL on the host's address alone, with an empty database `peebot`."""
    server = EmbeddedPostgres(network.folder / "postgres")
    server.initialise()
    with (server.data / "pg_hba.conf").open("a", encoding="utf-8") as rules:
        rules.write(f"local all all scram-sha-256\nhost all all {_NETWORK}.0/24 scram-sha-256\n")
    user = server.run_as()
    assert user is not None
    sockets = network.folder / "sockets"
    sockets.mkdir()
    shutil.chown(sockets, user)
    address = network.addresses[host]
    told = server.command()
    told[told.index("-h") + 1], told[told.index("-k") + 1] = address, str(sockets)
    as_user = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "--"]
    network.start(host, "postgres", [*as_user, *told], server_environment())
    account = f"user={SUPERUSER} password={server.password()} port={server.port()}"

    def on_socket(database: str) -> str:
        return f"{account} host={sockets} dbname={database}"

    def takes_connections() -> bool:
        try:
            psycopg.connect(on_socket("postgres")).close()
        except psycopg.OperationalError:
            return False
        return True

    network.wait_for(takes_connections, 60, "PostgreSQL takes connections")
    with psycopg.connect(on_socket("postgres"), autocommit=True) as connection:
        connection.execute("CREATE DATABASE peebot")
    return Database(f"{account} host={address} dbname=peebot", on_socket("peebot"))
