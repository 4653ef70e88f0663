"""The command line, without anything running."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from peebot_local.cli import main
from peebot_local.embedded_postgres import EmbeddedPostgres, free_port
from peebot_local.home import Home

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def peebot(tmp_path: Path) -> Run:
    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PEEBOT_")}
        return subprocess.run(
            [sys.executable, "-P", "-m", "peebot_local", *arguments],
            text=True,
            capture_output=True,
            cwd=tmp_path,
            env={**kept, "PEEBOT_HOME": str(tmp_path / "home"), **environment},
            check=False,
        )

    return run


@dataclass(frozen=True)
class Ended:
    returncode: str | int | None
    stdout: str
    stderr: str


@pytest.fixture
def peebot_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., Ended]:
    """As `peebot`, in this process: what it imports costs seconds in one of its own."""

    def run(*arguments: str, **environment: str) -> Ended:
        for name in list(os.environ):
            if name.startswith("PEEBOT_"):
                monkeypatch.delenv(name)
        for name, value in {"PEEBOT_HOME": str(tmp_path / "home"), **environment}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "argv", ["peebot", *arguments])
        monkeypatch.chdir(tmp_path)
        with pytest.raises(SystemExit) as ended:
            main()
        return Ended(ended.value.code, *capfd.readouterr())

    return run


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["status", "--json"], "nothing has run on .*; start './peebot up'"),
        (["env"], "nothing runs on .*; start './peebot up'"),
        (["replay", "missing.csv"], "nothing runs on .*; start './peebot up'"),
        (
            ["backfill", "--from", "2026-01-01", "--to", "2026-01-02"],
            "no Dagster runs here; start './peebot up'",
        ),
        (["bench", "nothing"], "no benchmark is named 'nothing'; there is "),
        (["detect", "nobody", "--from-csv", "x.csv"], "no detector is named 'nobody'; known: .*urine_tank"),
        (["detect", "urine_tank", "--from-csv", "missing.csv"], "missing.csv"),
        (["detect", "urine_tank"], "give --from and --to, or --from-csv FILE"),
        (
            ["detect", "urine_tank", "--from-csv", "x.csv", "--from", "2026-01-02", "--to", "2026-01-02"],
            "--to must be later than --from",
        ),
        (["evaluate", "nobody"], "no detector is named 'nobody'; known: "),
        (["evaluate", "urine_tank", "--labels", "x.csv"], "--labels tells of a recording: give --recording"),
        (["evaluate", "urine_tank", "--recording", "missing.csv"], "missing.csv: cannot be read"),
        (["evaluate", "urine_tank", "--report", "x.pdf"], r"a report ends in \.html or \.md"),
        (["evaluate", "urine_tank", "--report", "none/x.html"], "there is no folder none"),
        (["compare", "urine_tank"], "give --from and --to, or a candidate and --from-csv FILE"),
        (
            ["compare", "urine_tank", "nobody", "--from-csv", "x.csv"],
            "'nobody' is no detector; expected module:",
        ),
    ],
)
def test_what_the_user_can_mend_is_one_line_and_exit_code_1(
    peebot_here: Callable[..., Ended], arguments: list[str], message: str
) -> None:
    result = peebot_here(*arguments)
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert re.match(f"peebot: .*{message}", result.stderr)


@pytest.fixture(scope="module")
def ascii_database(postgres_server: EmbeddedPostgres) -> str:
    with psycopg.connect(postgres_server.url("postgres"), autocommit=True) as connection:
        connection.execute(
            "CREATE DATABASE plain_ascii ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
        )
    return "plain_ascii"


@pytest.mark.parametrize(
    ("command", "change", "reason"),
    [
        ("up", {"port": "1"}, "Connection refused"),
        ("migrate", {"port": "1"}, "Connection refused"),
        ("migrate", {"port": "99999"}, 'invalid port number: "99999"'),
        ("up", {"password": "wrong"}, "password authentication failed"),
        ("migrate", {"dbname": "missing"}, 'database "missing" does not exist'),
        ("up", {"dbname": "plain_ascii"}, "has the encoding SQL_ASCII; make one with CREATE DATABASE"),
        ("migrate", {"sslmode": "require"}, "server does not support SSL"),
    ],
)
def test_a_wrong_database_is_one_line_that_says_why(
    peebot_here: Callable[..., Ended],
    postgres_server: EmbeddedPostgres,
    ascii_database: str,
    command: str,
    change: dict[str, str],
    reason: str,
) -> None:
    url = make_conninfo(postgres_server.url("postgres"), **change)
    result = peebot_here(command, PEEBOT_DATABASE_URL=url, PEEBOT_UI_PORT=str(free_port()))
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1
    assert re.match(f"peebot: .*{re.escape(reason)}.*PEEBOT_DATABASE_URL", result.stderr)
    assert postgres_server.password() not in result.stdout + result.stderr


def test_detect_on_a_recording_prints_what_is_promised_and_needs_no_database(
    peebot: Run, tmp_path: Path
) -> None:
    rows = ["10:00:00Z,20", "10:30:00Z,21", "10:30:06Z,22", "10:30:12Z,23", "11:00:00Z,22"]
    recording = tmp_path / "tank.csv"
    recording.write_text("ts_utc,value\n" + "".join(f"2026-05-01T{row}\n" for row in rows))
    result = peebot("detect", "urine_tank", "--from-csv", "tank.csv", "--json")
    assert result.returncode == 0, result.stderr
    (event,) = json.loads(result.stdout)
    assert set(event) == {
        "event_id",
        "detector",
        "event_type",
        "started_at",
        "ended_at",
        "state",
        "confidence",
        "payload",
    }
    assert event["event_type"] == "toilet_visit"
    assert event["started_at"].startswith("2026-05-01T10:30:0")
    assert not (tmp_path / "home").exists()


def test_detect_on_a_span_of_a_recording_prints_what_begins_in_it(
    peebot_here: Callable[..., Ended], tmp_path: Path
) -> None:
    rows = ["10:00:00Z,20", "10:30:00Z,21", "10:30:06Z,22", "10:30:12Z,23", "11:00:00Z,22"]
    (tmp_path / "tank.csv").write_text("ts_utc,value\n" + "".join(f"2026-05-01T{row}\n" for row in rows))
    command = ("detect", "urine_tank", "--from-csv", "tank.csv", "--json")
    assert len(json.loads(peebot_here(*command, "--from", "2026-05-01T10:30").stdout)) == 1
    assert json.loads(peebot_here(*command, "--to", "2026-05-01T10:30").stdout) == []


def test_a_version_on_trial_is_compared_on_a_recording_without_a_database(
    peebot: Run, tmp_path: Path
) -> None:
    rows = ["10:00:00Z,20", "10:30:00Z,21", "10:30:06Z,22", "10:30:12Z,23", "11:00:00Z,22"]
    (tmp_path / "tank.csv").write_text("ts_utc,value\n" + "".join(f"2026-05-01T{row}\n" for row in rows))
    (tmp_path / "timid.py").write_text(
        "from dataclasses import replace\n"
        "from peebot_dagster.detectors.urine_tank import UrineTankDetector\n"
        "class Timid(UrineTankDetector):\n"
        "    def detect(self, window):\n"
        "        return [replace(event, confidence=0.1) for event in super().detect(window)]\n"
    )
    command = ("compare", "urine_tank", "timid.py:Timid", "--from-csv", "tank.csv")
    told = peebot(*command, "--json")
    assert told.returncode == 0, told.stderr
    compared = json.loads(told.stdout)
    assert [change["fields"] for change in compared["changed"]] == [["confidence"]]
    assert (compared["same"], compared["gone"], compared["new"]) == (0, [], [])
    assert "toilet_visit" in peebot(*command).stdout
    assert not (tmp_path / "home").exists()


def test_versions_are_compared_on_a_span_of_a_recording_of_the_feeds_hours_in_the_year_that_is_given(
    peebot_here: Callable[..., Ended], tmp_path: Path
) -> None:
    rows = ["48.0,20", "48.5,21", "48.502,22", "48.504,23", "49.0,22"]
    text = "".join("{},NODE3000005,{}\n".format(*row.split(",")) for row in rows)
    (tmp_path / "tank.csv").write_text("timestamp_hours,item,value\n" + text)
    same = "peebot_dagster.detectors.urine_tank:UrineTankDetector"
    command = ("compare", "urine_tank", same, "--from-csv", "tank.csv", "--year", "2021", "--json")
    assert json.loads(peebot_here(*command, "--from", "2021-01-02").stdout)["same"] == 1
    assert json.loads(peebot_here(*command, "--to", "2021-01-02").stdout)["same"] == 0


@pytest.mark.parametrize("broker", [{}, {"PEEBOT_CELERY_BROKER": "redis://127.0.0.1:1/0"}])
def test_env_leaves_the_settings_of_a_running_dagster_alone(
    peebot: Run, tmp_path: Path, broker: dict[str, str]
) -> None:
    home = Home(tmp_path / "home")
    home.dagster.mkdir(parents=True)
    (home.dagster / "dagster.yaml").write_text("what runs")
    with home.hold():
        result = peebot("env", PEEBOT_DATABASE_URL="postgresql://127.0.0.1:1/peebot", **broker)
    assert f"export DAGSTER_HOME={home.dagster}\n" in result.stdout
    assert (home.dagster / "dagster.yaml").read_text() == "what runs"


@pytest.mark.parametrize("broker", ["", "redis://127.0.0.1:1/0"])
def test_env_prepares_dagsters_home_while_nothing_runs(peebot: Run, tmp_path: Path, broker: str) -> None:
    url = "postgresql://127.0.0.1:1/peebot"
    assert peebot("env", PEEBOT_DATABASE_URL=url, PEEBOT_CELERY_BROKER=broker).returncode == 0
    settings = (tmp_path / "home" / "dagster" / "dagster.yaml").read_text()
    assert ("LeasedRunLauncher" in settings) == bool(broker)


def test_the_help_names_every_command(peebot: Run) -> None:
    text = peebot("--help").stdout
    for command in (
        *("up", "demo", "test", "migrate", "ingest", "simulate", "replay", "detect"),
        *("status", "bench", "env", "backfill", "evaluate"),
    ):
        assert f" {command} " in text


def test_further_arguments_go_to_pytest_and_to_the_daemons(peebot: Run) -> None:
    assert "pytest" in peebot("test", "--version").stdout
    assert "--as-of" in peebot("ingest", "--help").stdout
    assert "--first-visit-after" in peebot("simulate", "station", "--help").stdout


@pytest.mark.slow
def test_evaluate_prints_tables_and_writes_a_report_and_figures(peebot: Run, tmp_path: Path) -> None:
    arguments = ("--seeds", "1", "--days", "0.2", "--report", "r.html", "--json", "f.json")
    run = peebot("evaluate", "urine_tank", *arguments)
    assert run.returncode == 0, run.stderr
    assert "### Found on simulated stations" in run.stdout
    assert "| visit, in sight |" in run.stdout
    assert (tmp_path / "r.html").read_text(encoding="utf-8").count("<svg") >= 3
    figures = json.loads((tmp_path / "f.json").read_text(encoding="utf-8"))
    assert (figures["detector"], figures["stations"]["seeds"]) == ("urine_tank", 1)
