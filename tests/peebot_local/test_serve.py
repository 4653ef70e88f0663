from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
import requests

from peebot_local.embedded_postgres import free_port
from peebot_local.errors import MendableError
from peebot_local.serve import listening_host, require_guarded, served
from peebot_local.settings import Settings

URL = "postgresql://peebot:s3cret@db/peebot"
ALL = ("ingest", "code-server", "dagster-daemon", "webserver", "live", "celery-worker")
BROKER = {"PEEBOT_CELERY_BROKER": "redis://127.0.0.1:1/0"}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings.from_environment({"PEEBOT_HOME": str(tmp_path), "PEEBOT_DATABASE_URL": URL})


@pytest.mark.parametrize("name", ALL)
def test_no_password_is_in_a_command_line_and_the_database_is_in_the_environment(
    name: str, settings: Settings
) -> None:
    child = served(name, settings, {"LANG": "C", **BROKER})
    assert "s3cret" not in " ".join(child.command)
    assert child.environment["PEEBOT_DATABASE_URL"] == URL
    assert child.environment["LANG"] == "C"


@pytest.mark.parametrize("name", ["code-server", "webserver", "live"])
def test_who_says_nothing_listens_on_loopback(name: str, settings: Settings) -> None:
    assert "127.0.0.1" in served(name, settings, {}).command
    assert "10.0.0.7" in served(name, settings, {}, host="10.0.0.7").command


@pytest.mark.parametrize("host", ["10.0.0.7", "::", "peebot.example", "192.0.2.1", ""])
def test_a_host_that_others_reach_is_refused_unless_a_login_is_in_front(host: str) -> None:
    with pytest.raises(MendableError, match="nothing here asks for a login"):
        require_guarded(host, behind_login=False)
    require_guarded(host, behind_login=True)


def test_the_metrics_listen_elsewhere_only_when_told_so_by_name(settings: Settings) -> None:
    assert listening_host("ingest", None, {}) == "127.0.0.1"
    assert listening_host("ingest", None, {"PEEBOT_METRICS_HOST": "10.0.0.7"}) == "10.0.0.7"
    assert listening_host("ingest", "10.0.0.8", {"PEEBOT_METRICS_HOST": "10.0.0.7"}) == "10.0.0.8"
    # It is that of the metrics and of nothing else.
    assert listening_host("code-server", None, {"PEEBOT_METRICS_HOST": "10.0.0.7"}) == "127.0.0.1"
    assert listening_host("live", "", {}) == ""
    assert "--exposed" not in served("ingest", settings, {"PEEBOT_METRICS_HOST": "10.0.0.7"}).command
    exposed = served("ingest", settings, {}, host="10.0.0.7").command
    assert exposed[-3:] == ("--metrics-host", "10.0.0.7", "--exposed")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_loopback_needs_nobodys_word(host: str) -> None:
    require_guarded(host, behind_login=False)


def test_the_service_manager_hears_the_daemon_and_its_spool_may_be_elsewhere(settings: Settings) -> None:
    given = {
        "NOTIFY_SOCKET": "/run/systemd/notify",
        "PEEBOT_SPOOL": "/var/spool/peebot",
        "WATCHDOG_USEC": "1",
    }
    environment = served("ingest", settings, given).environment
    assert {name: environment[name] for name in given} == given
    assert served("ingest", settings, {}).environment["PEEBOT_SPOOL"].startswith(str(settings.home))


def test_what_dagster_itself_is_told_may_be_told_otherwise(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = "DAGSTER_SENSOR_GRPC_TIMEOUT_SECONDS"
    monkeypatch.delenv(limit, raising=False)
    assert served("dagster-daemon", settings, {}).environment[limit] == "180"
    monkeypatch.setenv(limit, "600")
    assert served("dagster-daemon", settings, os.environ).environment[limit] == "600"


def test_the_processes_of_dagster_find_the_code_server_wherever_it_is(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PEEBOT_CODE_SERVER_HOST", "code-server")
    environment = served("dagster-daemon", settings, {}).environment
    assert environment["PEEBOT_CODE_SERVER_HOST"] == "code-server"
    assert environment["PEEBOT_CODE_SERVER_PORT"] == "4000"


@pytest.mark.parametrize(
    ("name", "options", "why"),
    [
        ("nobody", {}, "nothing is named 'nobody'; there is ingest, "),
        ("live", {"read_only": True}, "only the webserver can be --read-only"),
        ("dagster-daemon", {"host": "10.0.0.7"}, "listens to nobody"),
        ("celery-worker", {}, "set PEEBOT_CELERY_BROKER"),
    ],
)
def test_what_makes_no_sense_is_said(
    name: str, options: dict[str, object], why: str, settings: Settings
) -> None:
    with pytest.raises(MendableError, match=why):
        served(name, settings, {}, **options)  # type: ignore[arg-type]


def test_a_server_needs_a_database_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(MendableError, match="PEEBOT_DATABASE_URL"):
        served("live", Settings(home=tmp_path), {})


LAUNCH = "mutation($p: ExecutionParams!) { launchRun(executionParams: $p) { __typename } }"
JOB = {
    "repositoryLocationName": "peebot",
    "repositoryName": "__repository__",
    "pipelineName": "publish_posts",
}
SENSOR = {"repositoryLocationName": "peebot", "repositoryName": "__repository__", "sensorName": "feed_state"}
FORBIDDEN = {
    "launch a run": (LAUNCH, {"p": {"selector": JOB, "mode": "default"}}),
    "launch a backfill": (
        "mutation($p: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $p) { __typename } }",
        {"p": {"assetSelection": [{"path": ["telemetry_minute"]}], "partitionNames": ["2025-03-01-00:00"]}},
    ),
    "terminate a run": ('mutation { terminateRun(runId: "x") { __typename } }', {}),
    "delete a run": ('mutation { deletePipelineRun(runId: "x") { __typename } }', {}),
    "start a sensor": (
        "mutation($s: SensorSelector!) { startSensor(sensorSelector: $s) { __typename } }",
        {"s": SENSOR},
    ),
    "report a materialization": (
        "mutation($p: ReportRunlessAssetEventsParams!)"
        " { reportRunlessAssetEvents(eventParams: $p) { __typename } }",
        {"p": {"eventType": "ASSET_MATERIALIZATION", "assetKey": {"path": ["telemetry_minute"]}}},
    ),
    "wipe an asset": (
        "mutation($r: [PartitionsByAssetSelector!]!) { wipeAssets(assetPartitionRanges: $r) { __typename } }",
        {"r": [{"assetKey": {"path": ["telemetry_minute"]}}]},
    ),
    "reload the code": (
        'mutation { reloadRepositoryLocation(repositoryLocationName: "peebot") { __typename } }',
        {},
    ),
}
REPORTS = ("report_asset_materialization", "report_asset_observation", "report_asset_check")


@contextmanager
def serving(environment: dict[str, str], *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-P", "-m", "peebot_local", *arguments], env=environment)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)


@pytest.mark.slow
def test_a_read_only_ui_shows_everything_and_changes_nothing(database_url: str, tmp_path: Path) -> None:
    (tmp_path / "url").write_text(database_url)
    code_port, port = free_port(), free_port()
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PEEBOT_")}
    environment = {
        **kept,
        "PEEBOT_HOME": str(tmp_path / "home"),
        "PEEBOT_DATABASE_URL_FILE": str(tmp_path / "url"),
        "PEEBOT_CODE_SERVER_PORT": str(code_port),
    }
    migrated = subprocess.run(
        [sys.executable, "-P", "-m", "peebot_local", "migrate"], env=environment, check=False
    )
    assert migrated.returncode == 0
    ui = f"http://127.0.0.1:{port}"
    with (
        serving(environment, "serve", "code-server"),
        serving(environment, "serve", "webserver", "--port", str(port), "--read-only") as process,
    ):
        wait_for(lambda: shows_assets(ui), process)
        for what, (query, variables) in FORBIDDEN.items():
            answer = requests.post(
                f"{ui}/graphql", json={"query": query, "variables": variables}, timeout=30
            ).json()
            assert "errors" not in answer, (what, answer)
            (result,) = answer["data"].values()
            assert result["__typename"] == "UnauthorizedError", what
        for report in REPORTS:
            answered = requests.post(f"{ui}/{report}/telemetry_minute", json={}, timeout=30)
            assert answered.status_code >= 400, report
    dagster = psycopg.conninfo.make_conninfo(
        database_url, dbname=f"{psycopg.conninfo.conninfo_to_dict(database_url)['dbname']}_dagster"
    )
    with psycopg.connect(dagster, autocommit=True) as connection:
        counts = connection.execute(
            "SELECT (SELECT count(*) FROM runs), (SELECT count(*) FROM event_logs),"
            " (SELECT count(*) FROM bulk_actions)"
        ).fetchone()
    assert counts == (0, 0, 0)


def shows_assets(ui: str) -> bool:
    try:
        answer = requests.post(f"{ui}/graphql", json={"query": "{ assetNodes { id } }"}, timeout=30).json()
    except requests.ConnectionError:
        return False
    return bool(answer["data"]["assetNodes"])


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 90
    while not condition():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.2)
