from __future__ import annotations

import os
from typing import Any

import dagster as dg
import psycopg
import sqlalchemy
from dagster_postgres import PostgresEventLogStorage, PostgresRunStorage, PostgresScheduleStorage

from peebot_dagster.pooled_storage import KEPT, _engine


def test_ticks_and_runs_of_a_process_share_a_few_connections(
    postgres_instance: dg.DagsterInstance, dagster_database: dict[str, str]
) -> None:
    opened: list[Any] = []
    engine = _engine(dagster_database["DAGSTER_PG_URL"], os.getpid())
    sqlalchemy.event.listen(engine, "connect", lambda connection, _: opened.append(connection))

    for _ in range(3):
        # As the code server has it for each tick.
        with dg.DagsterInstance.from_ref(postgres_instance.get_ref()) as instance:
            instance.get_runs_count()
            instance.all_asset_keys()
            instance.all_instigator_state()
            instance.report_runless_asset_event(dg.AssetMaterialization("something"))

    assert len(opened) <= KEPT
    runs, events = postgres_instance.run_storage, postgres_instance.event_log_storage
    schedules = postgres_instance.schedule_storage
    assert isinstance(runs, PostgresRunStorage)
    assert isinstance(events, PostgresEventLogStorage)
    assert isinstance(schedules, PostgresScheduleStorage)
    assert [storage._engine for storage in (runs, events, schedules)] == [engine] * 3


def test_a_forked_process_uses_no_connection_of_its_parent() -> None:
    url = "postgresql+psycopg2://nobody@127.0.0.1/nothing"
    assert _engine(url, os.getpid()) is _engine(url, os.getpid())
    assert _engine(url, os.getpid()) is not _engine(url, os.getpid() + 1)


def test_a_restarted_server_is_connected_to_anew(
    postgres_instance: dg.DagsterInstance, dagster_database: dict[str, str]
) -> None:
    postgres_instance.get_runs_count()
    url = dagster_database["DAGSTER_PG_URL"].replace("postgresql+psycopg2:", "postgresql:", 1)
    with psycopg.connect(url, autocommit=True) as connection:
        ended = connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        ).fetchall()
    assert ended

    assert postgres_instance.get_runs_count() == 0
