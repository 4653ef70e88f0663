"""The login that reads Dagster's database and writes nowhere, and a public UI that logs in as it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

import dagster as dg
import psycopg
import pytest
import requests
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.scheduler.instigation import TickData, TickStatus
from psycopg import errors
from psycopg import sql as pgsql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from benchmarks.harness.browser import installed_browser, open_browser
from peebot_local.database import dagster_database, dagster_environment, migrate_databases
from peebot_local.doctor.dagster import examine_dagster
from peebot_local.doctor.dagster_facts import dagster_facts
from peebot_local.embedded_postgres import free_port
from peebot_local.logins import logins_of, make_logins
from tests.peebot_local.test_serve import FORBIDDEN, SENSOR, serving, shows_assets, wait_for

HOUR = "2025-03-01-00:00"
TABLES = (
    "SELECT relname FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r'"
    " ORDER BY 1"
)


@dataclass(frozen=True)
class Reader:
    """URLs of a migrated store: its owner's, and the login's that reads Dagster's tables."""

    owner: str
    url: str

    @property
    def dagsters(self) -> tuple[str, str]:
        """Dagster's database, for the owner and for the login."""
        name = dagster_database(self.owner)
        return make_conninfo(self.owner, dbname=name), make_conninfo(self.url, dbname=name)


@pytest.fixture
def reader(database_url: str, login_urls: dict[str, str], tmp_path: Path) -> Iterator[Reader]:
    migrate_databases(database_url, tmp_path / "migrating")
    url = login_urls["dagster_reader"]
    make_logins(database_url, logins_of({"PEEBOT_DAGSTER_READER_URL": url}))
    yield Reader(database_url, url)
    with psycopg.connect(database_url, autocommit=True) as connection:
        name = pgsql.Identifier(dagster_database(database_url))
        connection.execute(pgsql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))


def refused(url: str, statement: str) -> bool:
    with psycopg.connect(url) as connection:
        try:
            connection.execute(statement)
        except errors.InsufficientPrivilege:
            return True
        finally:
            connection.rollback()
    return False


def test_it_reads_each_table_of_dagsters_and_writes_none(reader: Reader) -> None:
    owner, url = reader.dagsters
    with psycopg.connect(owner, autocommit=True) as connection:
        # As a later Dagster may make one.
        connection.execute("CREATE TABLE later (id serial PRIMARY KEY, told text)")
        tables = [name for (name,) in connection.execute(TABLES).fetchall()]
        sequences = [name for (name,) in connection.execute(TABLES.replace("'r'", "'S'")).fetchall()]
    assert {"runs", "event_logs", "asset_keys", "job_ticks", "later"} <= set(tables)
    with psycopg.connect(url) as connection:
        for table in tables:
            connection.execute(f"SELECT * FROM {table} LIMIT 1")  # noqa: S608  names from the catalogue
    writing = [
        statement.format(table)
        for table in tables
        for statement in (
            "INSERT INTO {} DEFAULT VALUES",
            "DELETE FROM {}",
            "TRUNCATE {}",
            "DROP TABLE {}",
            # It would keep the others waiting.
            "LOCK TABLE {} IN ROW EXCLUSIVE MODE",
            "SELECT * FROM {} FOR UPDATE",
        )
    ]
    writing += [f"SELECT nextval('{sequence}')" for sequence in sequences]
    writing += [
        "UPDATE asset_keys SET cached_status_data = ''",
        "UPDATE runs SET status = 'CANCELED'",
        "UPDATE instigators SET status = 'STOPPED'",
        "CREATE TABLE mine (x integer)",
        "CREATE SCHEMA mine",
        "CREATE ROLE mine",
    ]
    assert [statement for statement in writing if not refused(url, statement)] == []


def test_of_peebots_own_tables_it_sees_the_version_alone(reader: Reader) -> None:
    with psycopg.connect(reader.owner) as connection:
        tables = {name for (name,) in connection.execute(TABLES).fetchall()}
    assert len(tables) > 15
    readable = {table for table in tables if not refused(reader.url, f"SELECT FROM {table}")}
    assert readable == {"alembic_version"}
    assert refused(reader.url, "UPDATE alembic_version SET version_num = '9999'")
    assert refused(reader.url, "CREATE TABLE mine (x integer)")


def test_an_owner_who_may_make_no_role_can_still_give_the_others_their_rights(database_url: str) -> None:
    """As after an upgrade, where a superuser has made the roles of the version before."""
    with psycopg.connect(database_url) as connection:
        connection.execute("ALTER ROLE peebot_dagster_reader RENAME TO missing_reader")
        connection.execute("REVOKE SELECT ON post FROM peebot_reader")
        connection.execute("CREATE ROLE plain_owner")
        connection.execute("GRANT ALL ON ALL TABLES IN SCHEMA public TO plain_owner WITH GRANT OPTION")
        connection.execute("ALTER FUNCTION grant_roles() SECURITY DEFINER")
        connection.execute("GRANT CREATE ON SCHEMA public TO plain_owner")
        connection.execute(
            "DO $$ BEGIN EXECUTE (SELECT string_agg(format('ALTER FUNCTION %s OWNER TO plain_owner',"
            " oid::regprocedure), ';') FROM pg_proc WHERE pronamespace = 'public'::regnamespace); END $$"
        )
        connection.execute("GRANT USAGE ON SCHEMA public TO plain_owner WITH GRANT OPTION")
        connection.execute("SELECT grant_roles()")
        granted = connection.execute("SELECT has_table_privilege('peebot_reader', 'post', 'SELECT')")
        assert granted.fetchone() == (True,)
        made = connection.execute("SELECT FROM pg_roles WHERE rolname = 'peebot_dagster_reader'")
        assert made.fetchone() is None
        connection.rollback()


def test_the_doctor_tells_whether_a_public_ui_can_log_in_as_one_that_only_reads(
    reader: Reader, login_urls: dict[str, str]
) -> None:
    owner, _ = reader.dagsters
    with psycopg.connect(owner) as connection:

        def found() -> tuple[str, str]:
            facts = dagster_facts(connection, datetime.now(UTC))
            (finding,) = (
                each for each in examine_dagster(facts, datetime.now(UTC)) if each.check == "public_login"
            )
            return finding.level, finding.text

        assert found()[0] == "ok"
        connection.execute("GRANT DELETE ON runs TO peebot_dagster_reader")
        assert found() == ("fail", "peebot_dagster_reader: may write runs")
        connection.execute("REVOKE SELECT, DELETE ON runs FROM peebot_dagster_reader")
        assert found() == ("fail", "peebot_dagster_reader: may not read runs")
        connection.rollback()

        # As an installation from before has it.
        make_logins(reader.owner, logins_of({"PEEBOT_DAGSTER_URL": login_urls["dagster"]}))
        user = pgsql.Identifier(str(conninfo_to_dict(reader.url)["user"]))
        connection.execute(pgsql.SQL("REVOKE peebot_dagster_reader FROM {}").format(user))
        level, text = found()
        assert (level, "which writes them" in text) == ("warn", True)
        connection.rollback()


@dg.op
def nothing() -> None:
    pass


@dg.job
def any_job() -> None:
    nothing()


@dataclass(frozen=True)
class PublicUi:
    """A webserver with that login over some history: its address, and what Dagster's tables held before."""

    url: str
    reader: Reader
    run_id: str
    sensor_id: str
    before: dict[str, int]

    def ask(self, query: str, **variables: object) -> Any:
        answered = requests.post(
            f"{self.url}/graphql", json={"query": query, "variables": variables}, timeout=60
        )
        answer = answered.json()
        assert "errors" not in answer, answer["errors"]
        return answer["data"]


def counts(reader: Reader) -> dict[str, int]:
    """Rows by table, and what Dagster would keep of partitions that it was asked for."""
    with psycopg.connect(reader.dagsters[0]) as connection:
        tables = [name for (name,) in connection.execute(TABLES).fetchall()]
        found = {
            table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # type: ignore[index] # noqa: S608
            for table in tables
        }
        kept = connection.execute("SELECT count(cached_status_data) FROM asset_keys").fetchone()
        assert kept is not None
    return {**found, "cached": kept[0]}


Starting = Callable[..., PublicUi]


@pytest.fixture
def start(reader: Reader, tmp_path: Path) -> Iterator[Starting]:
    """Starts the UI with these options, and a code server as another process has it."""
    code_port, port = free_port(), free_port()
    with ExitStack() as stack:

        def process(login: str, *arguments: str) -> subprocess.Popen[bytes]:
            kept = {name: value for name, value in os.environ.items() if not name.startswith("PEEBOT_")}
            environment = {
                **kept,
                "PEEBOT_HOME": str(tmp_path / arguments[0]),
                "PEEBOT_DATABASE_URL": login,
                "PEEBOT_CODE_SERVER_PORT": str(code_port),
                "PEEBOT_PARTITIONS_START": HOUR,
            }
            return stack.enter_context(serving(environment, "serve", *arguments))

        def start(*options: str) -> PublicUi:
            process(reader.owner, "code-server")
            webserver = process(reader.url, "webserver", "--port", str(port), *options)
            url = f"http://127.0.0.1:{port}"
            wait_for(lambda: shows_assets(url), webserver)
            sensor = "query($s: SensorSelector!) { sensorOrError(sensorSelector: $s)"
            sensor += " { ... on Sensor { sensorState { id selectorId } } } }"
            answer = requests.post(
                f"{url}/graphql", json={"query": sensor, "variables": {"s": SENSOR}}, timeout=60
            ).json()
            state = answer["data"]["sensorOrError"]["sensorState"]
            run_id = history(reader, tmp_path / "history", state)
            return PublicUi(url, reader, run_id, state["id"], counts(reader))

        yield start


def history(reader: Reader, home: Path, sensor: dict[str, str]) -> str:
    """A run, whose id is given back, an hour's materialization and a tick, stored as the others do it."""
    home.mkdir()
    (home / "dagster.yaml").write_text((Path(__file__).parents[2] / "dagster.yaml").read_text())
    with (
        patch.dict(os.environ, dagster_environment(reader.owner, home)),
        dg.DagsterInstance.from_config(str(home)) as instance,
    ):
        run_id = any_job.execute_in_process(instance=instance).run_id
        instance.report_runless_asset_event(dg.AssetMaterialization("telemetry_minute", partition=HOUR))
        instance.create_tick(
            TickData(
                instigator_origin_id=sensor["id"].partition(":")[0],
                instigator_name="feed_state",
                instigator_type=InstigatorType.SENSOR,
                status=TickStatus.SKIPPED,
                timestamp=datetime.now(UTC).timestamp(),
                selector_id=sensor["selectorId"],
                skip_reason="Nothing new.",
            )
        )
    return run_id


ASSETS = """
{ assetNodes {
  assetKey { path } partitionStats { numPartitions numMaterialized numFailed }
  assetPartitionStatuses { __typename } assetMaterializations(limit: 1) { timestamp partition }
  staleStatus assetChecksOrError { __typename }
} }
"""
RUNS = (
    "{ runsOrError(limit: 9) { __typename ... on Runs { results { runId status stats { __typename } } } } }"
)
EVENTS = """
query($id: ID!) { logsForRun(runId: $id) { __typename ... on EventConnection { events { __typename } } } }
"""
TICKS = """
query($s: SensorSelector!) { sensorOrError(sensorSelector: $s) {
  ... on Sensor { sensorState { status ticks(limit: 9) { status skipReason } } }
} }
"""
OTHERS = """
{
  instance {
    daemonHealth { allDaemonStatuses { daemonType healthy lastHeartbeatErrors { message } } }
    concurrencyLimits { concurrencyKey } runQueueConfig { maxConcurrentRuns } info
  }
  partitionBackfillsOrError(limit: 9) { __typename }
  assetsOrError { __typename }
  workspaceOrError { __typename }
}
"""
PAGES = (
    "",
    "assets",
    "asset-groups",
    "assets/telemetry_minute?view=overview",
    "assets/telemetry_minute?view=partitions",
    "assets/telemetry_reading?view=events",
    "runs",
    "runs?view=backfills",
    "runs/{run}",
    "automation",
    "jobs",
    "deployment",
    "deployment/daemons",
    "deployment/concurrency",
    "locations/peebot/sensors/feed_state",
    "locations/peebot/schedules/hourly_assets",
)


@pytest.mark.slow
def test_a_public_ui_with_that_login_shows_all_and_writes_nothing(start: Starting) -> None:
    ui = start("--read-only")
    # The first page of all, for which Dagster would make up a name of its instance.
    assert requests.get(ui.url, timeout=30).status_code == 200

    nodes = {node["assetKey"]["path"][0]: node for node in ui.ask(ASSETS)["assetNodes"]}
    assert nodes["telemetry_minute"]["partitionStats"]["numMaterialized"] == 1
    (made,) = nodes["telemetry_minute"]["assetMaterializations"]
    assert made["partition"] == HOUR
    (run,) = ui.ask(RUNS)["runsOrError"]["results"]
    assert (run["runId"], run["status"]) == (ui.run_id, "SUCCESS")
    events = ui.ask(EVENTS, id=ui.run_id)["logsForRun"]["events"]
    assert {"RunStartEvent", "RunSuccessEvent"} <= {event["__typename"] for event in events}
    (tick,) = ui.ask(TICKS, s=SENSOR)["sensorOrError"]["sensorState"]["ticks"]
    assert (tick["status"], tick["skipReason"]) == ("SKIPPED", "Nothing new.")
    others = ui.ask(OTHERS)
    assert others["partitionBackfillsOrError"]["__typename"] == "PartitionBackfills"
    assert others["workspaceOrError"]["__typename"] == "Workspace"

    assert counts(ui.reader) == ui.before


@pytest.mark.slow
def test_each_page_of_the_ui_opens_with_that_login(start: Starting) -> None:
    if installed_browser() is None:
        pytest.skip("no browser is installed")
    ui = start("--read-only")
    failed: list[str] = []
    with open_browser() as browser:
        page = browser.new_page()
        page.on("response", lambda told: failed.append(told.url) if told.status >= 400 else None)
        for path in PAGES:
            page.goto(f"{ui.url}/{path.format(run=ui.run_id)}")
            page.wait_for_load_state("networkidle")
    assert failed == []
    assert counts(ui.reader) == ui.before


STORING = ("launch a run", "launch a backfill", "report a materialization", "wipe an asset")


@pytest.mark.slow
def test_without_read_only_it_is_the_database_that_refuses(start: Starting) -> None:
    ui = start()
    queries = {what: FORBIDDEN[what] for what in STORING}
    queries["delete the run"] = (
        "mutation($id: String!) { deletePipelineRun(runId: $id) { __typename } }",
        {"id": ui.run_id},
    )
    queries["stop a sensor"] = (
        "mutation($id: String!) { stopSensor(id: $id) { __typename } }",
        {"id": ui.sensor_id},
    )
    for what, (query, variables) in queries.items():
        asked = query.replace("{ __typename }", "{ __typename ... on PythonError { message } }")
        told = requests.post(
            f"{ui.url}/graphql", json={"query": asked, "variables": variables}, timeout=60
        ).text
        assert "permission denied for table" in told, (what, told)
    assert counts(ui.reader) == ui.before
