"""What a tick of live detection has told Dagster."""

from __future__ import annotations

import dagster as dg

from peebot_dagster.defs.detectors import RAN_WITHOUT_ERROR


def materializations(result: dg.SensorResult) -> list[dg.AssetMaterialization]:
    return [event for event in result.asset_events if isinstance(event, dg.AssetMaterialization)]


def skip_reason(result: dg.SensorResult) -> str:
    assert isinstance(result.skip_reason, dg.SkipReason)
    return str(result.skip_reason.skip_message)


def checks(result: dg.SensorResult) -> dict[dg.AssetKey, dg.AssetCheckEvaluation]:
    """Whether the detectors ran without an error."""
    return {
        e.asset_key: e
        for e in result.asset_events
        if isinstance(e, dg.AssetCheckEvaluation) and e.check_name == RAN_WITHOUT_ERROR
    }
