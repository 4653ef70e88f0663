"""The systemd units: checked by systemd, and each ExecStart run in the sandbox that works without it."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from ingest_daemon.settings import Settings as DaemonSettings
from peebot_local.commands.doctoring import FAILING_AND_TOLD
from peebot_local.embedded_postgres import free_port
from peebot_local.logins import ROLES
from peebot_local.secret_files import SECRETS
from peebot_local.serve import served
from peebot_local.settings import Settings
from tests.deploy.sandbox import INSTALLED, ROOT, UNITS, Sandbox, job_of, unit, unit_of
from tests.peebot_dagster.alerts.servers import webhook_server

PROCESSES = ("ingest", "code-server", "dagster-daemon", "webserver", "webserver-public", "live")
PUBLIC_PORT = "3002"
LOGINS = {"ingest": "ingest", "webserver-public": "dagster_reader", "live": "reader"}
"""Whose login is not that of Dagster."""


def test_the_target_wants_each_process_and_nothing_unknown() -> None:
    (wanted,) = unit(UNITS / "peebot.target")["Unit"]["Wants"]
    assert wanted.split() == [f"peebot@{process}.service" for process in PROCESSES]
    folders = {folder.name for folder in UNITS.glob("peebot@*.service.d")}
    assert folders <= {f"peebot@{process}.service.d" for process in (*PROCESSES, "celery-worker")}


@pytest.mark.parametrize("process", PROCESSES)
def test_each_process_is_bounded_comes_back_and_has_its_secret_by_credential(process: str) -> None:
    service = unit_of(process)["Service"]
    assert re.fullmatch(r"\d+[MG]", service["MemoryMax"][-1])
    assert service["Restart"] == ["always"]
    url = f"database_url:/etc/peebot/{LOGINS.get(process, 'dagster')}_url"
    assert service["LoadCredential"] == [url]
    assert "PEEBOT_DATABASE_URL=" not in str(service)
    assert service["User"] == ["peebot"]


def test_a_database_that_comes_late_keeps_nothing_down_for_good() -> None:
    (after, wanted) = (unit_of("live")["Unit"][key][0] for key in ("After", "Wants"))
    assert "peebot-migrate.service" in after.split()
    assert "peebot-migrate.service" in wanted.split()
    # systemd tries no start again that has failed for what it requires.
    assert "Requires" not in unit_of("live")["Unit"]
    service = job_of("migrate")["Service"]
    assert service["Restart"] == ["on-failure"]
    assert "--wait" in service["ExecStart"][0].split()


def test_the_migration_makes_the_login_of_each_process() -> None:
    service = job_of("migrate")["Service"]
    given = dict(pair.split("=", 1) for line in service["Environment"] for pair in line.split())
    credentials = dict(line.split(":") for line in service["LoadCredential"])
    assert {setting: credentials[given[f"{setting}_FILE"].removeprefix("%d/")] for setting in ROLES} == {
        "PEEBOT_INGEST_URL": "/etc/peebot/ingest_url",
        "PEEBOT_DAGSTER_URL": "/etc/peebot/dagster_url",
        "PEEBOT_DAGSTER_READER_URL": "/etc/peebot/dagster_reader_url",
        "PEEBOT_READER_URL": "/etc/peebot/reader_url",
    }
    assert credentials["database_url"] == "/etc/peebot/database_url"


def test_what_grows_begins_anew_each_week_and_the_daemon_is_watched() -> None:
    for process in ("code-server", "dagster-daemon", "webserver", "webserver-public"):
        assert unit_of(process)["Service"]["RuntimeMaxSec"] == ["7d"]
    service = unit_of("ingest")["Service"]
    assert (service["Type"], service["WatchdogSec"]) == (["notify"], ["60"])
    assert "RuntimeMaxSec" not in service


@pytest.mark.slow
def test_systemd_finds_no_fault_with_the_units(tmp_path: Path, tool: Callable[[str], str]) -> None:
    analyze = tool("systemd-analyze")
    shutil.copytree(UNITS, tmp_path / "units")
    for file in (tmp_path / "units").rglob("*"):
        if file.is_file():
            # It looks for the programs, which are installed elsewhere here.
            text = file.read_text("utf-8").replace(f"{INSTALLED}/.venv/bin/python", sys.executable)
            file.write_text(text.replace(f"WorkingDirectory={INSTALLED}", f"WorkingDirectory={ROOT}"))
    names = [file.name for file in (tmp_path / "units").glob("peebot*.*") if file.is_file()]
    for process in (*PROCESSES, "celery-worker"):
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


def test_the_jobs_are_hardened_as_the_processes_are() -> None:
    process = unit_of("live")["Service"]
    (drop_in,) = (UNITS / "peebot-.service.d").glob("*.conf")
    hardening = unit(drop_in)["Service"]
    assert {key: process[key] for key in hardening.keys() - {"MemoryMax"}} == {
        key: value for key, value in hardening.items() if key != "MemoryMax"
    }
    missing = process.keys() - hardening.keys() - job_of("backup")["Service"].keys()
    assert missing == {"Restart", "RestartSec", "TimeoutStopSec"}
    for name in ("migrate", "backup", "doctor", "backup-failed"):
        service = job_of(name)["Service"]
        assert service["StateDirectoryMode"] == ["0700"]
        assert service["UMask"] == ["0077"]


def test_the_public_ui_is_read_only() -> None:
    (command,) = unit_of("webserver-public")["Service"]["ExecStart"]
    assert "--read-only" in command.split()


def test_the_keys_of_x_come_by_credentials_and_only_when_asked_for() -> None:
    example = UNITS / "peebot@code-server.service.d" / "60-x.conf.example"
    service = unit(example)["Service"]
    given = dict(pair.split("=", 1) for line in service["Environment"] for pair in line.split())
    assert given.pop("PEEBOT_POSTS") == "x"
    assert {name.removesuffix("_FILE") for name in given} == {name for name in SECRETS if "_X_" in name}
    loaded = dict(line.split(":") for line in service["LoadCredential"])
    assert {f"%d/{credential}" for credential in loaded} == set(given.values())


def test_the_backups_job_keeps_the_newest_three_and_what_was_saved_by_hand(tmp_path: Path) -> None:
    kept = {"peebot-before-upgrade.backup", "other"}
    nightly = [f"peebot-2026010{day}T042000Z.backup" for day in range(1, 6)]
    for name in (*kept, *nightly):
        (tmp_path / name).touch()
    (after,) = job_of("backup")["Service"]["ExecStartPost"]
    subprocess.run(shlex.split(after.replace("/var/lib/peebot/backup", str(tmp_path))), check=True)
    assert {file.name for file in tmp_path.iterdir()} == kept | {*nightly[-3:]}


def test_a_backup_that_fails_and_a_dagster_that_is_dead_are_told() -> None:
    assert unit(UNITS / "peebot-backup.service")["Unit"]["OnFailure"] == ["peebot-backup-failed.service"]
    assert (UNITS / "peebot-doctor.timer").exists()
    for name in ("backup-failed", "doctor"):
        job = job_of(name)
        # Without it systemd would not start the unit for want of the credential.
        assert job["Unit"]["ConditionPathExists"] == ["/etc/peebot/alert_urls"]
        assert "alert_urls:/etc/peebot/alert_urls" in job["Service"]["LoadCredential"]


def test_a_warm_worker_has_room_for_its_runs_and_its_broker_by_a_credential() -> None:
    assert unit_of("celery-worker")["Service"]["MemoryMax"][-1] == "2G"
    example = UNITS / "peebot@celery-worker.service.d" / "70-broker.conf.example"
    service = unit(example)["Service"]
    ((variable, path),) = (line.split("=", 1) for line in service["Environment"])
    assert variable.removesuffix("_FILE") in SECRETS
    assert [f"%d/{line.split(':')[0]}" for line in service["LoadCredential"]] == [path]


def test_the_public_ui_is_given_no_broker_with_whose_password_one_runs_any_code() -> None:
    told = re.search(r"for process in (.*); do", (ROOT / "docs" / "scaling.md").read_text("utf-8"))
    assert told is not None
    assert told[1].split() == ["celery-worker", "code-server", "dagster-daemon", "webserver"]
    example = UNITS / "peebot@celery-worker.service.d" / "70-broker.conf.example"
    assert "webserver-public" not in example.read_text("utf-8")


def test_what_an_older_version_would_leave_behind_is_named_where_the_way_back_is() -> None:
    text = (ROOT / "docs" / "deployment.md").read_text("utf-8")
    back = text.partition("**Back**: `sudo systemctl stop")[2].partition("## ")[0]
    removed = re.findall(r"rm /etc/systemd/system/(\S+)", back)
    assert removed == ["peebot@webserver-public.service.d/40-login.conf"]
    stopped = re.findall(r"disable --now (\S+)", back)
    assert stopped == ["peebot-doctor.timer"]
    assert all((UNITS / name).is_file() for name in (*removed, *stopped))


def test_a_spool_elsewhere_is_where_the_unit_may_write() -> None:
    service = unit(UNITS / "peebot@ingest.service.d" / "60-spool.conf.example")["Service"]
    given = dict(pair.split("=", 1) for line in service["Environment"] for pair in line.split())
    assert service["ReadWritePaths"] == [given["PEEBOT_SPOOL"]]
    url = {"PEEBOT_DATABASE_URL": "postgresql://db/peebot"}
    started = served("ingest", Settings.from_environment(url), {**url, **given}).environment
    assert DaemonSettings.read([], started).spool == Path(given["PEEBOT_SPOOL"])
    assert DaemonSettings.read([], started).spool_limit_mb == int(given["PEEBOT_SPOOL_LIMIT_MB"])


def test_whom_to_alert_comes_by_a_credential_and_only_when_asked_for() -> None:
    service = unit(UNITS / "peebot@code-server.service.d" / "70-alerts.conf.example")["Service"]
    ((variable, path),) = (line.split("=", 1) for line in service["Environment"])
    assert variable.removesuffix("_FILE") in SECRETS
    assert [f"%d/{line.split(':')[0]}" for line in service["LoadCredential"]] == [path]


def admin_at(folder: Path, python: str, etc: Path) -> Path:
    """deploy/peebot-admin as it is on a server whose folders are these."""
    script = (ROOT / "deploy" / "peebot-admin").read_text("utf-8")
    copy = folder / "peebot-admin"
    copy.write_text(script.replace(f"{INSTALLED}/.venv/bin/python", python).replace("/etc/peebot", str(etc)))
    copy.chmod(0o755)
    return copy


def test_the_owners_commands_have_the_units_settings_and_run_nothing_of_that_file(tmp_path: Path) -> None:
    (tmp_path / "peebot.env").write_text(
        '# a comment\nPEEBOT_UI_PORT=3100\nPEEBOT_POSTS="x bluesky"\n'
        "PEEBOT_FEED=$(touch ran)\nPEEBOT_LIVE_PORT=1"
    )
    (tmp_path / "python").write_text('#!/bin/sh\nenv; echo "arguments: $*"\n')
    (tmp_path / "python").chmod(0o755)
    admin = admin_at(tmp_path, str(tmp_path / "python"), tmp_path)
    environment = {"PATH": os.environ["PATH"], "PEEBOT_LIVE_PORT": "3111"}
    told = subprocess.run(
        [admin, "mute", "--for", "2h"],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    assert {
        "PEEBOT_UI_PORT=3100",
        "PEEBOT_POSTS=x bluesky",
        "PEEBOT_FEED=$(touch ran)",
        "PEEBOT_LIVE_PORT=3111",
        "PEEBOT_HOME=/var/lib/peebot",
        f"PEEBOT_DATABASE_URL_FILE={tmp_path}/database_url",
        "arguments: -P -m peebot_local mute --for 2h",
    } <= set(told)
    assert not (tmp_path / "ran").exists()


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


@pytest.fixture
def sandbox(tool: Callable[[str], str], database_url: str, login_urls: dict[str, str]) -> Iterator[Sandbox]:
    if os.geteuid() != 0:
        pytest.skip("a mount namespace takes root")
    tool("setpriv")
    # The sockets in it have room for 107 bytes of path.
    folder = Path(tempfile.mkdtemp(prefix="peebot-", dir="/tmp"))
    made = Sandbox(tool, folder, {})
    made.make()
    (made.etc / "database_url").write_text(database_url)
    for part, url in login_urls.items():
        (made.etc / f"{part}_url").write_text(url)
    yield made
    shutil.rmtree(folder)


@pytest.mark.slow
@pytest.mark.timeout(600)  # eight processes, of which five import Dagster
def test_each_unit_runs_as_an_ordinary_user_on_a_file_system_that_it_may_not_write(
    sandbox: Sandbox, database_url: str
) -> None:
    for name in ("migrate", "backup"):
        with sandbox.runs(name, job_of(name)["Service"]) as running:
            assert running.wait(timeout=120) == 0
    (backup,) = (sandbox.state / "backup").glob("peebot-*.backup")
    assert backup.stat().st_size > 10_000
    with webhook_server() as hook:
        (sandbox.etc / "alert_urls").write_text(hook.url)
        with sandbox.runs("doctor", job_of("doctor")["Service"]) as running:
            assert running.wait(timeout=120) == FAILING_AND_TOLD
    (told,) = hook.received
    assert "dagster_daemon" in told["title"]

    ports = {name: free_port() for name in ("code", "ui", "public", "live", "metrics")}
    there = sandbox.with_environment(
        PEEBOT_CODE_SERVER_PORT=str(ports["code"]),
        PEEBOT_UI_PORT=str(ports["ui"]),
        PEEBOT_LIVE_PORT=str(ports["live"]),
        PEEBOT_METRICS_PORT=str(ports["metrics"]),
        # Nobody listens there: a feed that is away must not keep the daemon from being ready.
        PEEBOT_FEED_URL=f"http://127.0.0.1:{free_port()}",
    )
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(str(sandbox.state / "notify"))
    sandbox.give(sandbox.state / "notify")
    manager.settimeout(60)
    with ExitStack() as stack, manager:
        running_ones = []
        for process in PROCESSES:
            notified = {"NOTIFY_SOCKET": str(sandbox.state / "notify")} if process == "ingest" else {}
            running_ones.append(
                stack.enter_context(
                    there.with_environment(**notified).runs(
                        process, unit_of(process)["Service"], {PUBLIC_PORT: str(ports["public"])}
                    )
                )
            )
        while "READY=1" not in manager.recv(4096).decode():
            pass
        wait_for(lambda: answers(f"http://127.0.0.1:{ports['ui']}/server_info"), running_ones)
        wait_for(lambda: answers(f"http://127.0.0.1:{ports['public']}/server_info"), running_ones)
        wait_for(lambda: answers(f"http://127.0.0.1:{ports['live']}/healthz"), running_ones)
        wait_for(lambda: answers(f"http://127.0.0.1:{ports['metrics']}/metrics"), running_ones)
        wait_for(lambda: _heart_beats(database_url, sandbox.folder), running_ones)
        for running in running_ones:
            status = Path(f"/proc/{running.pid}/status").read_text()
            assert re.search(r"^NoNewPrivs:\s+1$", status, re.M)
            assert re.search(r"^CapBnd:\s+0+$", status, re.M)
            assert re.search(r"^CapEff:\s+0+$", status, re.M)
            assert not re.search(r"^Uid:.*\b0\b", status, re.M)
        assert "Nothing is posted until" in _owner_says(sandbox, ports, "mute", "--for", "2h")
        assert "Posting goes on" in _owner_says(sandbox, ports, "unmute")
        assert '"readings":0' in _owner_says(sandbox, ports, "status", "--json")
        hour = ("--from", "2025-03-01T00:00", "--to", "2025-03-01T01:00")
        assert "Done: " in _owner_says(sandbox, ports, "backfill", *hour)


def _owner_says(sandbox: Sandbox, ports: dict[str, int], *command: str) -> str:
    """What a command of docs/operations.md prints, given as there."""
    (sandbox.etc / "peebot.env").write_text(f"PEEBOT_UI_PORT={ports['ui']}\n")
    ended = subprocess.run(
        [admin_at(sandbox.folder, sys.executable, sandbox.etc), *command],
        env={"PATH": os.environ["PATH"], "PEEBOT_HOME": str(sandbox.folder / "owner")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


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
