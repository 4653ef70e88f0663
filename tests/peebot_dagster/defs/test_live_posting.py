"""When live detection asks for a run that posts."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import dagster as dg
import psycopg

from peebot_dagster.defs.live import live_detection_sensors
from peebot_dagster.defs.posts import posts_job
from peebot_dagster.defs.resources import Store
from peebot_dagster.detectors.detector import Detector
from tests.peebot_dagster.defs.visits import insert_event

Tick = Callable[..., dg.SensorResult]

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)


def test_a_fresh_visit_asks_for_one_posting_run_and_not_for_a_second_while_that_is_not_done(
    connection: psycopg.Connection, tick: Tick, jump: Detector, instance: dg.DagsterInstance
) -> None:
    assert not tick(jump).run_requests
    insert_event(connection, datetime.now(UTC) - MINUTE)

    assert len(tick(jump).run_requests or []) == 1

    instance.create_run_for_job(
        dg.GraphDefinition(name=posts_job.name).to_job(), status=dg.DagsterRunStatus.STARTED
    )
    assert not tick(jump).run_requests


def test_the_sensor_that_takes_over_does_not_ask_for_the_posting_run_that_its_twin_has_asked_for(
    connection: psycopg.Connection, database_url: str, jump: Detector, instance: dg.DagsterInstance
) -> None:
    now = datetime.now(UTC)
    insert_event(connection, now - MINUTE)
    times = iter([now, now + timedelta(minutes=1)])
    moment = next(times)
    first, twin = live_detection_sensors([jump], timedelta(0), lambda: moment)

    def asked_for(sensor: dg.SensorDefinition) -> int:
        result = sensor(
            dg.build_sensor_context(instance, resources={"store": Store(database_url=database_url)})
        )
        assert isinstance(result, dg.SensorResult)
        return len(result.run_requests or [])

    assert (asked_for(first), asked_for(twin)) == (1, 0)
    moment = next(times)
    assert asked_for(twin) == 1, "no run was made: the request was lost"


def test_what_can_only_be_skipped_waits_so_that_a_replay_starts_no_run_by_the_minute(
    connection: psycopg.Connection, tick: Tick, jump: Detector, instance: dg.DagsterInstance
) -> None:
    instance.create_run_for_job(
        dg.GraphDefinition(name=posts_job.name).to_job(), status=dg.DagsterRunStatus.SUCCESS
    )
    insert_event(connection, datetime.now(UTC) - 5 * HOUR)
    assert not tick(jump).run_requests

    insert_event(connection, datetime.now(UTC) - MINUTE)
    assert tick(jump).run_requests


def test_a_posting_run_that_failed_is_not_repeated_at_every_tick(
    connection: psycopg.Connection, tick: Tick, jump: Detector, instance: dg.DagsterInstance
) -> None:
    insert_event(connection, datetime.now(UTC) - MINUTE)
    instance.create_run_for_job(
        dg.GraphDefinition(name=posts_job.name).to_job(), status=dg.DagsterRunStatus.FAILURE
    )

    assert not tick(jump).run_requests
