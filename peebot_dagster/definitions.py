"""Everything that Dagster loads, by `python -m peebot_dagster.code_server` or `dagster api grpc -m`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime

import dagster as dg

from peebot_dagster.defs.alerts import alerts_sensor
from peebot_dagster.defs.detectors import detector_asset
from peebot_dagster.defs.feed import feed_checks, feed_sensor, tank_checks, urine_tank_of
from peebot_dagster.defs.health import TANK_CHECKS
from peebot_dagster.defs.hourly import hourly_job, hourly_schedule
from peebot_dagster.defs.live import live_detection_sensors
from peebot_dagster.defs.maintenance import (
    run_retention,
    run_retention_schedule,
    store_maintenance,
    store_maintenance_schedule,
)
from peebot_dagster.defs.outside import lightstreamer_feed, public_timelines
from peebot_dagster.defs.posts import posts_asset, posts_job
from peebot_dagster.defs.resources import Store
from peebot_dagster.defs.station_report import (
    station_report_asset,
    station_report_job,
    station_report_schedule,
)
from peebot_dagster.defs.telemetry import telemetry_minute, telemetry_reading
from peebot_dagster.detectors.detector import Detector
from peebot_dagster.detectors.registry import DETECTORS


def build_definitions(detectors: Sequence[Detector]) -> dg.Definitions:
    """The whole project over these detectors: adding one to the registry is all that a new detector takes."""
    detector_assets = [detector_asset(detector) for detector in detectors]
    tank = urine_tank_of(detectors)
    return dg.Definitions(
        assets=[
            lightstreamer_feed,
            telemetry_reading,
            telemetry_minute,
            *detector_assets,
            posts_asset(detectors),
            public_timelines,
            *([station_report_asset(detectors, tank)] if tank else []),
        ],
        asset_checks=[feed_checks, *([tank_checks(tank)] if tank else [])],
        jobs=[
            hourly_job(detector_assets, left_out=TANK_CHECKS if tank else ()),
            posts_job,
            run_retention,
            store_maintenance,
            *([station_report_job] if tank else []),
        ],
        schedules=[
            hourly_schedule(detectors, loaded_at=datetime.now(UTC)),
            run_retention_schedule,
            store_maintenance_schedule,
            *([station_report_schedule] if tank else []),
        ],
        sensors=[
            *live_detection_sensors(detectors),
            feed_sensor(detectors),
            alerts_sensor,
            *_sensors_of_warm_workers(),
        ],
        resources={"store": Store(database_url=dg.EnvVar("PEEBOT_DATABASE_URL"))},
        executor=dg.in_process_executor,
    )


def _sensors_of_warm_workers() -> list[dg.SensorDefinition]:
    if not os.environ.get("PEEBOT_CELERY_BROKER"):
        return []
    # Not everybody has Celery.
    from peebot_dagster.defs.lost_messages import lost_messages

    return [lost_messages]


defs = build_definitions(tuple(DETECTORS.values()))
