from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import psycopg
import pytest
import yaml

from peebot_dagster.definitions import build_definitions, defs
from peebot_dagster.detectors.detector import Detector
from peebot_dagster.detectors.registry import DETECTORS
from peebot_dagster.store import hour_of

ROOT = Path(__file__).parents[3]


def test_the_definitions_fit_together() -> None:
    dg.Definitions.validate_loadable(defs)


@pytest.mark.slow
def test_the_code_location_loads_as_the_grpc_server_loads_it_and_without_a_database(tmp_path: Path) -> None:
    (tmp_path / "dagster.yaml").touch()
    result = subprocess.run(
        [sys.executable, "-m", "dagster", "definitions", "validate", "-m", "peebot_dagster.definitions"],
        cwd=ROOT,
        env={**os.environ, "DAGSTER_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert result.returncode == 0, result.stderr
    assert "All code locations passed validation" in result.stdout + result.stderr
    assert "Warning" not in (result.stdout + result.stderr).replace("SupersessionWarning", "")


def test_the_lineage_leads_from_the_readings_to_the_posts() -> None:
    graph = defs.resolve_asset_graph()

    def parents(name: str) -> set[str]:
        return {key.to_user_string() for key in graph.get(dg.AssetKey(name)).parent_keys}

    assert parents("telemetry_minute") == {"telemetry_reading"}
    assert parents("urine_tank_events") == {"telemetry_reading", "telemetry_minute"}
    assert parents("posts") == {"urine_tank_events"}
    assert graph.get(dg.AssetKey("telemetry_reading")).is_external


def test_the_lineage_begins_and_ends_outside() -> None:
    graph = defs.resolve_asset_graph()

    feed, timelines = (graph.get(dg.AssetKey(name)) for name in ("lightstreamer_feed", "public_timelines"))
    assert feed.is_external
    assert feed.child_keys == {dg.AssetKey("telemetry_reading")}
    assert timelines.is_external
    assert timelines.parent_keys == {dg.AssetKey("posts")}


def test_a_further_detector_gets_its_asset_and_its_check(jump: Detector) -> None:
    graph = build_definitions([jump]).resolve_asset_graph()

    assert dg.AssetKey("jump_events") in graph.get_all_asset_keys()
    assert dg.AssetCheckKey(dg.AssetKey("jump_events"), "ran_without_error") in graph.asset_check_keys
    assert not graph.get(dg.AssetKey("posts")).parent_keys


def test_the_posts_depend_on_the_detectors_whose_events_are_posted_about(
    jump: Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PEEBOT_POST_EVENTS", "jump,toilet_visit")

    graph = build_definitions([*DETECTORS.values(), jump]).resolve_asset_graph()

    assert graph.get(dg.AssetKey("posts")).parent_keys == {
        dg.AssetKey("jump_events"),
        dg.AssetKey("urine_tank_events"),
    }


def test_a_setting_of_the_posts_that_is_wrong_does_not_keep_the_definitions_from_loading(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PEEBOT_POST_COOLDOWN_MINUTES", "often")

    graph = build_definitions(tuple(DETECTORS.values())).resolve_asset_graph()

    assert graph.get(dg.AssetKey("posts")).parent_keys == {dg.AssetKey("urine_tank_events")}


def test_everybody_who_looks_finds_out_what_an_asset_is_and_whose() -> None:
    for node in defs.resolve_asset_graph().asset_nodes:
        assert node.description
        assert node.owners
        assert node.kinds
        assert node.group_name != "default"
        is_table = node.key.to_user_string() not in (
            "lightstreamer_feed",
            "public_timelines",
            "station_report",
        )
        assert is_table == ("dagster/column_schema" in node.metadata)


def test_the_description_of_a_detectors_asset_begins_with_whole_sentences() -> None:
    for detector in DETECTORS.values():
        description = defs.resolve_asset_graph().get(dg.AssetKey(f"{detector.name}_events")).description
        assert description is not None
        assert description.split("\n\n")[0].endswith(".")


def test_every_job_has_a_longest_time_so_that_a_killed_run_does_not_stay_started() -> None:
    jobs = [job for job in defs.get_repository_def().get_all_jobs() if not job.name.startswith("__ASSET_JOB")]
    assert {job.name for job in jobs} >= {"hourly_assets_job", "publish_posts", "run_retention"}
    for job in jobs:
        assert "dagster/max_runtime" in job.tags, job.name
        assert job.executor_def.name == "in_process", job.name


def test_runs_are_watched_and_retried_and_ticks_do_not_stay_for_ever() -> None:
    settings = yaml.safe_load((ROOT / "dagster.yaml").read_text())
    assert settings["run_monitoring"]["enabled"]
    assert settings["run_retries"]["enabled"]
    for kind in ("sensor", "schedule"):
        days = settings["retention"][kind]["purge_after_days"]
        assert days.keys() == {"skipped", "success", "failure", "started"}
        assert all(0 < kept <= 31 for kept in days.values())


HEAVY = (
    "aiohttp",
    "alembic",
    "celery",
    "lightstreamer",
    "matplotlib",
    "pandas",
    "requests",
    "rich",
    "scipy",
    "tweepy",
)


def test_nothing_heavy_is_imported_by_the_definitions_as_each_run_would_pay_for_it() -> None:
    program = (
        "import sys, peebot_dagster.definitions;"
        f"print(*({{name.partition('.')[0] for name in sys.modules}} & {set(HEAVY)}))"
    )
    imported = subprocess.run(
        [sys.executable, "-P", "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
        check=True,
    )
    assert imported.stdout.split() == []


def test_sensors_and_schedules_run_by_themselves() -> None:
    repository = defs.get_repository_def()
    assert {s.name: s.default_status.value for s in repository.sensor_defs} == {
        "live_detection": "RUNNING",
        "live_detection_relief": "RUNNING",
        "feed_state": "RUNNING",
        "alerts": "RUNNING",
    }
    assert {s.name: s.default_status.value for s in repository.schedule_defs} == {
        "hourly_assets": "RUNNING",
        "run_retention_daily": "RUNNING",
        "station_report_hourly": "RUNNING",
        "store_maintenance_daily": "RUNNING",
    }


def test_the_running_hour_is_a_partition() -> None:
    from peebot_dagster.defs.partitions import HOURS, hour_key

    running = hour_of(datetime.now(UTC))
    assert HOURS.has_partition_key(hour_key(running))
    assert not HOURS.has_partition_key(hour_key(running + timedelta(hours=2)))


def test_the_column_schemas_say_what_the_database_says(connection: psycopg.Connection) -> None:
    for node in defs.resolve_asset_graph().asset_nodes:
        if "dagster/table_name" not in node.metadata:
            continue
        schema = node.metadata["dagster/column_schema"]
        stored = {
            name: (type_, comment)
            for name, type_, comment in connection.execute(
                """
                SELECT attname, format_type(atttypid, NULL), col_description(attrelid, attnum)
                FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0
                """,
                (node.metadata["dagster/table_name"],),
            ).fetchall()
        }
        for column in schema.columns:
            type_, comment = stored[column.name]
            assert column.type == type_.replace("timestamp with time zone", "timestamptz")
            assert column.description == comment


def test_the_password_of_the_database_is_nowhere_in_what_the_ui_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from dagster._core.remote_representation.external_data import RepositorySnap
    from dagster_shared.serdes import serialize_value

    monkeypatch.setenv("PEEBOT_DATABASE_URL", "postgresql://peebot:sesame-open@127.0.0.1/peebot")

    told = serialize_value(RepositorySnap.from_def(defs.get_repository_def()))

    assert "PEEBOT_DATABASE_URL" in told
    assert "sesame-open" not in told
