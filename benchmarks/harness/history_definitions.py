"""The assets of the history alone: no sensor, no schedule, so that nothing but the measured backfill runs."""

from __future__ import annotations

import dagster as dg

from peebot_dagster.defs.detectors import detector_asset
from peebot_dagster.defs.resources import Store
from peebot_dagster.defs.telemetry import telemetry_minute, telemetry_reading
from peebot_dagster.detectors.registry import DETECTORS

defs = dg.Definitions(
    assets=[
        telemetry_reading,
        telemetry_minute,
        *(detector_asset(detector) for detector in DETECTORS.values()),
    ],
    resources={"store": Store(database_url=dg.EnvVar("PEEBOT_DATABASE_URL"))},
    executor=dg.in_process_executor,
)
