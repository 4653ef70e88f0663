"""A run on Kubernetes with all of Dagster's parts; the cluster only takes the Job, which is then run here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import dagster as dg
import pytest
import yaml
from psycopg.conninfo import conninfo_to_dict

from peebot_local.database import dagster_database, migrate_databases
from peebot_local.embedded_postgres import free_port
from peebot_local.logins import logins_of, make_logins
from peebot_local.services import listens
from tests.deploy.chart import (
    ROOT,
    Tree,
    container_context_of,
    deployment_of,
    instance_of,
    over,
    values_of,
)

pytestmark = pytest.mark.slow

VALUES = values_of("values.yaml")


@pytest.fixture
def cluster() -> Iterator[tuple[str, list[Tree]]]:
    """An API server that takes every Job, at an address; and what it was given."""
    jobs: list[Tree] = []

    class Takes(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            assert self.path.startswith("/apis/batch/v1/namespaces/peebot/jobs")
            jobs.append(json.loads(body))
            self.send_response(201)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Takes)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}", jobs
    server.shutdown()
    server.server_close()


def kubeconfig(path: Path, address: str) -> Path:
    named = {"name": "here"}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "clusters": [{**named, "cluster": {"server": address}}],
        "contexts": [{**named, "context": {"cluster": "here", "user": "here"}}],
        "users": [{**named, "user": {}}],
    }
    path.write_text(yaml.safe_dump(config))
    return path


@pytest.mark.timeout(600)  # four programs that import Dagster, one after the other
def test_a_run_becomes_a_job_whose_command_ends_well(
    cluster: tuple[str, list[Tree]],
    database_url: str,
    login_urls: dict[str, str],
    tmp_path: Path,
    tool: Callable[[str], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Code server, coordinator, launcher and run worker are Dagster's own; cluster and pod are made up."""
    address, jobs = cluster
    home = tmp_path / "home"
    migrate_databases(database_url, home)
    # As in a cluster: a login that may make no table.
    url = login_urls["dagster"]
    make_logins(database_url, logins_of({"PEEBOT_DAGSTER_URL": url}))
    where = conninfo_to_dict(url)
    here = {
        "global": {"dagsterHome": str(home)},
        "postgresql": {
            "postgresqlHost": where["host"],
            "postgresqlUsername": where["user"],
            "postgresqlDatabase": dagster_database(database_url),
            "postgresqlParams": {"sslmode": "prefer"},
            "service": {"port": int(str(where["port"]))},
        },
    }
    values = over(VALUES, here)
    instance = instance_of(values)
    # What is in a pod by itself.
    instance["run_launcher"]["config"] |= {
        "load_incluster_config": False,
        "kubeconfig_file": str(kubeconfig(tmp_path / "kubeconfig", address)),
    }
    (home / "dagster.yaml").write_text(yaml.safe_dump(instance))
    deployment = deployment_of(values)
    image = f"{deployment['image']['repository']}:{deployment['image']['tag']}"
    secrets = {
        "peebot-dagster": {"PEEBOT_DATABASE_URL": url},
        "peebot-posting": {},
        "peebot-dagster-storage": {"postgresql-password": str(where["password"])},
    }
    programs = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    shared = {**programs, "DAGSTER_HOME": str(home), "DAGSTER_PG_PASSWORD": str(where["password"])}
    port = free_port()
    (tmp_path / "workspace.yaml").write_text(
        yaml.safe_dump(
            {"load_from": [{"grpc_server": {"host": "127.0.0.1", "port": port, "location_name": "peebot"}}]}
        )
    )
    code_server = subprocess.Popen(
        ["dagster", "api", "grpc", "-h", "127.0.0.1", "-p", str(port), *deployment["dagsterApiGrpcArgs"]],
        cwd=ROOT,
        env={
            **shared,
            **secrets["peebot-dagster"],
            "DAGSTER_CURRENT_IMAGE": image,
            "DAGSTER_CLI_API_GRPC_CONTAINER_CONTEXT": json.dumps(container_context_of(deployment)),
        },
    )
    try:
        while not listens(port)():
            assert code_server.poll() is None
            time.sleep(0.1)
        launch = ["dagster", "job", "launch", "-w", str(tmp_path / "workspace.yaml"), "-j", "run_retention"]
        tags = ["--tags", json.dumps({"peebot/urgent": "true"})]
        subprocess.run([*launch, *tags], cwd=ROOT, env=shared, check=True)
    finally:
        # Asked to end, it waits up to a minute for calls that are under way.
        code_server.kill()
        code_server.wait(timeout=30)
    (job,) = jobs
    _require_hardened(job, image)
    (tmp_path / "job.json").write_text(json.dumps(job))
    subprocess.run([tool("kubernetes-validate"), "--strict", tmp_path / "job.json"], check=True)

    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert "command" not in container
    given = dict(programs)
    for source in container["envFrom"]:
        given |= secrets[source["secretRef"]["name"]] if "secretRef" in source else {}
    for variable in container["env"]:
        asked = variable.get("valueFrom", {}).get("secretKeyRef")
        given[variable["name"]] = secrets[asked["name"]][asked["key"]] if asked else variable["value"]
    # The pod's folder is empty.
    (home / "dagster.yaml").rename(tmp_path / "dagster.yaml")
    subprocess.run(container["args"], cwd=ROOT, env=given, check=True)
    monkeypatch.setenv("DAGSTER_PG_PASSWORD", given["DAGSTER_PG_PASSWORD"])
    with dg.DagsterInstance.from_config(str(tmp_path)) as stored:
        (run,) = stored.get_runs()
    assert run.status == dg.DagsterRunStatus.SUCCESS


def _require_hardened(job: Tree, image: str) -> None:
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["image"] == image
    assert container["securityContext"] == VALUES["dagsterDaemon"]["securityContext"]
    assert pod["securityContext"] == VALUES["dagsterDaemon"]["podSecurityContext"]
    assert job["spec"]["ttlSecondsAfterFinished"] == 3600
    asked = [source["secretRef"]["name"] for source in container["envFrom"] if "secretRef" in source]
    assert asked == ["peebot-dagster", "peebot-posting"]
    # Each once: the launcher has none of its own.
    assert sorted(volume["name"] for volume in pod["volumes"]) == ["dagster-home", "home", "scratch"]
