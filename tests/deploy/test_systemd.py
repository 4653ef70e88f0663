"""The systemd units: checked by systemd itself, and each ExecStart run in the sandbox that works without it.

That sandbox has no capabilities, no new privileges, and a file system of which only the state directory can
be written. What needs systemd as the first process (credentials, system call filters, restarts) is not run.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from peebot_local.embedded_postgres import free_port

ROOT = Path(__file__).parents[2]
UNITS = ROOT / "deploy" / "systemd"
PROCESSES = ("ingest", "code-server", "dagster-daemon", "webserver", "live")
INSTALLED = "/opt/peebot"


def unit(*files: Path) -> dict[str, dict[str, list[str]]]:
    """A unit with its drop-ins: section → key → values in order."""
    sections: dict[str, dict[str, list[str]]] = {}
    for file in files:
        section: dict[str, list[str]] = {}
        for line in file.read_text("utf-8").splitlines():
            if line.startswith("["):
                section = sections.setdefault(line.strip("[]"), {})
            elif "=" in line and not line.startswith("#"):
                key, _, value = line.partition("=")
                section.setdefault(key, []).append(value)
    return sections


def unit_of(process: str) -> dict[str, dict[str, list[str]]]:
    drop_ins = sorted((UNITS / f"peebot@{process}.service.d").glob("*.conf"))
    return unit(UNITS / "peebot@.service", *drop_ins)


def test_the_target_wants_each_process_and_nothing_unknown() -> None:
    (wanted,) = unit(UNITS / "peebot.target")["Unit"]["Wants"]
    assert wanted.split() == [f"peebot@{process}.service" for process in PROCESSES]
    folders = {folder.name for folder in UNITS.glob("peebot@*.service.d")}
    assert folders <= {f"peebot@{process}.service.d" for process in PROCESSES}


@pytest.mark.parametrize("process", PROCESSES)
def test_each_process_is_bounded_comes_back_and_has_its_secret_by_credential(process: str) -> None:
    service = unit_of(process)["Service"]
    assert re.fullmatch(r"\d+[MG]", service["MemoryMax"][-1])
    assert service["Restart"] == ["always"]
    assert service["LoadCredential"] == ["database_url:/etc/peebot/database_url"]
    assert "PEEBOT_DATABASE_URL=" not in str(service)
    assert service["User"] == ["peebot"]


def test_what_grows_begins_anew_each_week_and_the_daemon_is_watched() -> None:
    for process in ("code-server", "dagster-daemon", "webserver"):
        assert unit_of(process)["Service"]["RuntimeMaxSec"] == ["7d"]
    service = unit_of("ingest")["Service"]
    assert (service["Type"], service["WatchdogSec"]) == (["notify"], ["60"])
    assert "RuntimeMaxSec" not in service


def required(command: str) -> str:
    found = shutil.which(command)
    if found is None:
        assert "PEEBOT_REQUIRE_DEPLOY_TOOLS" not in os.environ, f"{command} is not installed"
        pytest.skip(f"{command} is not installed")
    return found


@pytest.mark.slow
def test_systemd_finds_no_fault_with_the_units(tmp_path: Path) -> None:
    analyze = required("systemd-analyze")
    shutil.copytree(UNITS, tmp_path / "units")
    programs = tmp_path / "bin"
    programs.mkdir()
    names = []
    for file in (tmp_path / "units").glob("peebot*.*"):
        if file.is_file():
            # It looks for the programs, which are installed elsewhere here.
            text = file.read_text("utf-8").replace(f"{INSTALLED}/.venv/bin/python", sys.executable)
            file.write_text(text.replace(f"WorkingDirectory={INSTALLED}", f"WorkingDirectory={ROOT}"))
            names.append(file.name)
    for process in PROCESSES:
        names.append(f"peebot@{process}.service")
    names.remove("peebot@.service")
    checked = subprocess.run(
        [analyze, "verify", "--man=no", "--recursive-errors=no", *names],
        cwd=tmp_path / "units",
        env={**os.environ, "SYSTEMD_UNIT_PATH": f"{tmp_path / 'units'}:"},
        capture_output=True,
        text=True,
        check=False,
    )
    ours = [line for line in checked.stderr.splitlines() if "peebot" in line and "does not exist" not in line]
    assert ours == []


SANDBOX = """
set -e
mount --bind "$STATE" "$STATE"
mount -o remount,bind,ro /
exec setpriv --no-new-privs --bounding-set=-all --inh-caps=-all "$@"
"""


@contextmanager
def sandboxed(process: str, state: Path, environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    service = unit_of(process)["Service"]
    (command,) = service["ExecStart"]
    given = dict(pair.split("=", 1) for line in service["Environment"] for pair in line.split())
    folder = state / process
    folder.mkdir()
    expanded = {
        name: value.replace("/var/lib/peebot", str(state)).replace("%i", process).replace("%d", str(state))
        for name, value in given.items()
    }
    words = command.replace("%i", process).replace(f"{INSTALLED}/.venv/bin/python", sys.executable).split()
    unshare = [required("unshare"), "--mount", "--propagation", "private", "sh", "-c", SANDBOX, "sh"]
    running = subprocess.Popen(
        [*unshare, *words],
        cwd=ROOT,
        env={
            "PATH": os.environ["PATH"],
            "TMPDIR": str(folder),
            "STATE": str(state),
            **expanded,
            **environment,
        },
    )
    try:
        yield running
    finally:
        running.send_signal(signal.SIGTERM)
        running.wait(timeout=60)


def wait_for(
    condition: Callable[[], bool], running: list[subprocess.Popen[bytes]], timeout_s: float = 120
) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert all(process.poll() is None for process in running)
        assert time.monotonic() < deadline
        time.sleep(0.2)


def answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=5).close()  # noqa: S310
    except OSError:
        return False
    return True


@pytest.mark.slow
def test_each_process_runs_without_privileges_on_a_file_system_that_it_may_not_write(
    database_url: str,
) -> None:
    if os.geteuid() != 0:
        pytest.skip("a mount namespace takes root")
    required("setpriv")
    # The sockets in it have room for 107 bytes of path.
    state = Path(tempfile.mkdtemp(prefix="peebot-", dir="/tmp"))
    (state / "database_url").write_text(database_url)
    ports = {name: free_port() for name in ("code", "ui", "live", "metrics")}
    environment = {
        "PEEBOT_CODE_SERVER_PORT": str(ports["code"]),
        "PEEBOT_UI_PORT": str(ports["ui"]),
        "PEEBOT_LIVE_PORT": str(ports["live"]),
        "PEEBOT_METRICS_PORT": str(ports["metrics"]),
        # Nobody listens there: a feed that is away must not keep the daemon from being ready.
        "PEEBOT_FEED_URL": f"http://127.0.0.1:{free_port()}",
    }
    migrated = subprocess.run(
        [sys.executable, "-P", "-m", "peebot_local", "migrate"],
        env={**os.environ, "PEEBOT_HOME": str(state / "migrate"), "PEEBOT_DATABASE_URL": database_url},
        check=False,
    )
    assert migrated.returncode == 0
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(str(state / "notify"))
    manager.settimeout(60)
    with ExitStack() as stack, manager:
        running = [
            stack.enter_context(
                sandboxed(
                    process,
                    state,
                    {**environment, "NOTIFY_SOCKET": str(state / "notify")}
                    if process == "ingest"
                    else environment,
                )
            )
            for process in PROCESSES
        ]
        while "READY=1" not in manager.recv(4096).decode():
            pass
        wait_for(lambda: answers(f"http://127.0.0.1:{ports['ui']}/server_info"), running)
        wait_for(lambda: answers(f"http://127.0.0.1:{ports['live']}/healthz"), running)
        wait_for(lambda: answers(f"http://127.0.0.1:{ports['metrics']}/metrics"), running)
        wait_for(lambda: _heart_beats(database_url, state), running)
        status = Path(f"/proc/{running[0].pid}/status").read_text()
        assert re.search(r"^NoNewPrivs:\s+1$", status, re.M)
        assert re.search(r"^CapBnd:\s+0+$", status, re.M)
    shutil.rmtree(state)


def _heart_beats(database_url: str, state: Path) -> bool:
    """As the container's health check asks."""
    command = f'eval "$({sys.executable} -P -m peebot_local env)" && dagster-daemon liveness-check'
    return (
        subprocess.run(
            ["sh", "-c", command],
            env={
                "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
                "PEEBOT_HOME": str(state / "check"),
                "PEEBOT_DATABASE_URL": database_url,
            },
            capture_output=True,
            check=False,
        ).returncode
        == 0
    )
