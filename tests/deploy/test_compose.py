"""What the compose file promises, read as YAML: no container engine is needed."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from peebot_local.embedded_postgres import free_port
from peebot_local.logins import ROLES
from peebot_local.secret_files import SECRETS
from peebot_local.serve import METRICS_PORT
from peebot_local.warm_workers import WORKERS_OF_A_HOST, workers_of

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "compose"
COMPOSE: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text("utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
MONITORING: dict[str, Any] = yaml.safe_load((FOLDER / "compose.monitoring.yaml").read_text("utf-8"))
CELERY: dict[str, Any] = yaml.safe_load((FOLDER / "compose.celery.yaml").read_text("utf-8"))
OURS = {name for name, service in SERVICES.items() if service["image"] == "peebot"}


@pytest.mark.parametrize("name", SERVICES)
def test_each_service_is_bounded_hardened_and_comes_back(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert service["mem_limit"]
    assert service["cpus"]
    assert service["logging"]["options"]["max-size"]
    if name == "migrate":
        assert service["restart"].startswith("on-failure")
    elif name in ("backup", "doctor", "admin"):
        assert service["restart"] == "no"
    else:
        assert service["restart"] == "unless-stopped"
        assert service["healthcheck"]["test"]


@pytest.mark.parametrize("name", sorted(OURS))
def test_ours_run_as_nobody_special(name: str) -> None:
    assert SERVICES[name]["user"] == "10001:10001"


def test_the_proxy_is_nobody_special_either_and_binds_no_port_of_the_systems() -> None:
    caddy = SERVICES["caddy"]
    assert caddy["user"] == "10002:10002"
    assert caddy["ports"] == ["${PEEBOT_PUBLISH_HTTP:-80}:8080", "${PEEBOT_PUBLISH_HTTPS:-443}:8443"]
    assert caddy["environment"]["PEEBOT_HTTP_PORT"] == "8080"
    assert caddy["environment"]["PEEBOT_HTTPS_PORT"] == "8443"
    # What the health check asks for is in the Caddyfile, at the port that is the default there.
    assert "http://127.0.0.1:2020/" in caddy["healthcheck"]["test"]
    assert "{$PEEBOT_CADDY_HEALTH_PORT:2020}" in (FOLDER / "Caddyfile").read_text("utf-8")
    assert "chown -R 10002:10002 /data /config" in (FOLDER / "caddy.Dockerfile").read_text("utf-8")


def test_only_the_proxy_is_reached_from_outside() -> None:
    assert {name for name, service in SERVICES.items() if "ports" in service} == {"caddy"}
    assert COMPOSE["networks"]["inside"]["internal"] is True
    reach_out = {name for name, service in SERVICES.items() if "outside" in service["networks"]}
    assert reach_out == {"ingest", "code-server", "doctor", "caddy"}


def test_no_secret_is_in_an_environment() -> None:
    for name, service in SERVICES.items():
        given = service.get("environment", {})
        assert not {*given} & {*SECRETS, "POSTGRES_PASSWORD"}, name
        for secret in re.findall(r"/run/secrets/(\w+)", str(given)):
            assert secret in service["secrets"], (name, secret)


def test_each_process_has_its_own_login_and_only_jobs_the_owners() -> None:
    given = {}
    for name in sorted(OURS):
        file = SERVICES[name]["environment"]["PEEBOT_DATABASE_URL_FILE"]
        given[name] = file.removeprefix("/run/secrets/")
        held = {secret for secret in SERVICES[name]["secrets"] if secret.endswith("_url")}
        assert held == {given[name]} or name == "migrate", name
    assert given == {
        **dict.fromkeys(("migrate", "backup", "doctor", "admin"), "database_url"),
        "ingest": "ingest_url",
        **dict.fromkeys(("code-server", "dagster-daemon", "webserver"), "dagster_url"),
        "webserver-public": "dagster_reader_url",
        "live": "reader_url",
    }
    made = {variable for variable in SERVICES["migrate"]["environment"] if variable.endswith("_URL_FILE")}
    assert made == {"PEEBOT_DATABASE_URL_FILE", *(f"{setting}_FILE" for setting in ROLES)}


def test_only_who_posts_and_alerts_has_the_keys_for_it() -> None:
    for secret, wanted in (("x_access_token", {"code-server"}), ("alert_urls", {"code-server", "doctor"})):
        assert {name for name, each in SERVICES.items() if secret in each.get("secrets", [])} == wanted


def test_each_command_is_one_that_peebot_has() -> None:
    from peebot_local.serve import served
    from peebot_local.settings import Settings

    settings = Settings.from_environment({"PEEBOT_DATABASE_URL": "postgresql://db/peebot"})
    for name in OURS - {"migrate", "backup", "doctor", "admin"}:
        assert SERVICES[name]["entrypoint"] == ["peebot"]
        verb, process, *_ = SERVICES[name]["command"]
        assert verb == "serve"
        served(process, settings, {})


def test_the_owners_commands_find_the_other_services() -> None:
    from peebot_local.doctor.spool_facts import metrics_url_of
    from peebot_local.settings import Settings

    service = SERVICES["admin"]
    assert (service["entrypoint"], service["profiles"]) == (["peebot"], ["admin"])
    given = {variable: text for variable, text in service["environment"].items() if "${" not in text}
    settings = Settings.from_environment(given)
    assert settings.ui_url == f"http://webserver:{SERVICES['webserver']['command'][5]}"
    asked = metrics_url_of(service["environment"]["PEEBOT_METRICS_HOST"], settings.metrics_port)
    assert asked == SERVICES["code-server"]["environment"]["PEEBOT_ALERT_METRICS"]
    assert service["volumes"] == ["backup:/var/lib/peebot/backup:ro"]


def test_a_backup_is_made_only_when_asked_for_and_stays_when_its_container_goes() -> None:
    service = SERVICES["backup"]
    assert service["profiles"] == ["backup"]
    assert {name for name, other in SERVICES.items() if "profiles" in other} == {"backup", "doctor", "admin"}
    assert service["volumes"] == ["backup:/backup"]
    assert "backup" in COMPOSE["volumes"]
    # An empty volume takes its owner from the image's folder, and PeeBot's user writes to it.
    assert re.search(r"install -d -o peebot .*/backup ", (ROOT / "deploy" / "Dockerfile").read_text("utf-8"))
    # It waits for the database alone, so that it can be run while everything else stands still.
    assert service["depends_on"].keys() == {"database"}


def test_the_backups_command_names_a_new_file_and_keeps_the_newest_three(tmp_path: Path) -> None:
    service = SERVICES["backup"]
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "peebot").write_text('#!/bin/sh\n[ "$1 $3" = "backup --checksums" ] && : > "$2"\n')
    (programs / "peebot").chmod(0o755)
    files = tmp_path / "backup"
    files.mkdir()
    old = [f"peebot-2026010{day}T042000Z.backup" for day in range(1, 5)]
    others = {"other", "peebot-before-upgrade.backup"}
    for name in (*old, *others):
        (files / name).touch()
    # As Compose gives it to the shell; a file of the test's stands for the volume.
    (script,) = service["command"]
    script = script.replace("$$", "$").replace("/backup", str(files))
    environment = {"PATH": f"{programs}:{os.environ['PATH']}"}
    subprocess.run([*service["entrypoint"], script], check=True, env=environment)
    left = {file.name for file in files.iterdir()}
    assert left > {*old[-2:], *others}
    (made,) = left - {*old[-2:], *others}
    assert re.fullmatch(r"peebot-\d{8}T\d{6}Z\.backup", made)


def test_the_database_is_healthy_only_when_others_can_reach_it() -> None:
    assert "pg_isready -h 127.0.0.1 " in SERVICES["database"]["healthcheck"]["test"][1]


def test_who_monitors_reaches_metrics_and_database_on_loopback_alone() -> None:
    services = MONITORING["services"]
    assert services["ingest"]["ports"] == [f"127.0.0.1:{METRICS_PORT}:{METRICS_PORT}"]
    assert services["database"]["ports"] == ["127.0.0.1:5432:5432"]
    (network,) = services["database"]["networks"]
    assert MONITORING["networks"][network] == {}


def test_a_warm_worker_is_as_the_code_server_and_who_launches_runs_knows_the_broker() -> None:
    services = CELERY["services"]
    worker, code_server = services["celery-worker"], SERVICES["code-server"]
    same = code_server.keys() - {"build", "command", "environment", "secrets", "depends_on", "healthcheck"}
    assert {key: worker[key] for key in same} == {key: code_server[key] for key in same}
    own = {"PEEBOT_FEED_URL", "PEEBOT_ALERT_URLS_FILE", "PEEBOT_ALERT_METRICS"}
    broker = {"PEEBOT_CELERY_BROKER_FILE": "/run/secrets/celery_broker"}
    told = {key: value for key, value in code_server["environment"].items() if key not in own}
    # As in .env, where it is empty by default.
    broker["PEEBOT_CELERY_WORKERS"] = "${PEEBOT_CELERY_WORKERS:-}"
    assert workers_of({"PEEBOT_CELERY_WORKERS": ""}) == WORKERS_OF_A_HOST
    assert worker["environment"] == told | broker
    assert {*worker["secrets"]} == {*code_server["secrets"], "celery_broker"} - {"alert_urls"}
    # Not the public webserver: with the broker's password one runs any code.
    others = ("code-server", "dagster-daemon", "webserver")
    assert services.keys() == {"celery-worker", "redis", *others}
    for name in others:
        assert services[name] == {"environment": broker, "secrets": ["celery_broker"]}
    assert "ports" not in services["redis"]
    assert services["redis"]["networks"] == ["inside"]


def test_the_broker_asks_for_the_password_that_is_in_its_url(tmp_path: Path) -> None:
    redis_server, redis_cli = shutil.which("redis-server"), shutil.which("redis-cli")
    if redis_server is None or redis_cli is None:
        assert "PEEBOT_REQUIRE_REDIS" not in os.environ
        pytest.skip("redis is not installed")
    secret, port = tmp_path / "broker", free_port()
    secret.write_text("redis://:s3cret@redis:6379/0")
    service = CELERY["services"]["redis"]
    (script,) = service["command"]
    script = script.replace("--dir /tmp", f"--dir {tmp_path}").replace(
        "/run/secrets/celery_broker", str(secret)
    )
    entrypoint = ["sh", "-c", f"{script} --port {port}"]
    assert service["entrypoint"] == entrypoint[:2]
    asked = [redis_cli, "-p", str(port), "--no-auth-warning"]
    with subprocess.Popen(entrypoint, stdout=subprocess.DEVNULL, start_new_session=True) as running:
        try:
            deadline = time.monotonic() + 20
            while "NOAUTH" not in subprocess.run([*asked, "ping"], capture_output=True, text=True).stdout:
                assert time.monotonic() < deadline
                time.sleep(0.1)
            answer = subprocess.run([*asked, "-a", "s3cret", "ping"], capture_output=True, text=True)
            assert answer.stdout == "PONG\n"
        finally:
            os.killpg(running.pid, signal.SIGTERM)


def test_images_of_others_have_a_version() -> None:
    assert re.search(r":[\d.]+", CELERY["services"]["redis"]["image"])
    for name in SERVICES.keys() - OURS:
        assert re.search(r":[\d.]+", SERVICES[name]["image"]), name


def test_the_image_has_every_package_and_installs_only_what_the_lock_has_a_hash_for() -> None:
    dockerfile = (ROOT / "deploy" / "Dockerfile").read_text("utf-8")
    ignored = (ROOT / ".dockerignore").read_text("utf-8")
    packages = re.findall(
        r'"(\w+)"',
        re.search(r"^packages = .*evaluation.*$", (ROOT / "pyproject.toml").read_text("utf-8"), re.M)[0],
    )  # type: ignore[index]
    for package in packages:
        assert f"COPY {package} {package}" in dockerfile
        assert f"!{package}\n" in ignored
    installing = re.findall(r"pip install (.*)", dockerfile)
    assert len(installing) == 2
    for options in installing:
        assert "--require-hashes" in options
    assert re.search(r"^USER \d+:\d+$", dockerfile, re.M)


@pytest.mark.slow
def test_compose_finds_no_fault_with_the_files(tool: Callable[[str], str]) -> None:
    check = [tool("check-jsonschema"), "--builtin-schema", "vendor.compose-spec"]
    checked = subprocess.run(
        [*check, *FOLDER.glob("compose*.yaml")], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout


@pytest.mark.slow
def test_hadolint_finds_no_fault_with_the_images(tool: Callable[[str], str]) -> None:
    files = [ROOT / "deploy" / "Dockerfile", FOLDER / "caddy.Dockerfile"]
    checked = subprocess.run([tool("hadolint"), *files], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout
