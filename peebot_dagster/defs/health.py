"""The checks of the feed and of the tank in Dagster: what each promises, and its verdicts as evaluations."""

import dagster as dg

from peebot_dagster.defs.telemetry import telemetry_reading
from peebot_dagster.health import Verdict

TANK_EVENTS = dg.AssetKey("urine_tank_events")


def _spec(asset: dg.AssetKey, name: str, description: str) -> dg.AssetCheckSpec:
    return dg.AssetCheckSpec(name, asset=asset, description=description)


FEED_CHECKS = [
    _spec(telemetry_reading.key, name, description)
    for name, description in {
        "feed_is_live": (
            "Telemetry is coming in. LOS is a warning and passes by itself: the station is out of contact. "
            "DOWN (our side) and a LOS of more than an hour (a dead feed) are errors."
        ),
        "store_keeps_up": "While LIVE, the newest tick of the station's clock is 30 s old at most.",
        "few_updates_rejected": "At most 1 % of the last hour's updates failed validation.",
        "clocks_agree": (
            "The station's clock (TIME_000001, TIME_000002), the feed's time stamps and this machine's clock "
            "differ by 30 s at most."
        ),
        "no_gaps": "Of the last 24 h at most 10 minutes passed with no daemon connected; LOS is no gap.",
        "catalogue_fits_feed": "The catalogue knows each item, and three in four of its items are heard.",
    }.items()
]
TANK_CHECKS = [
    _spec(TANK_EVENTS, name, description)
    for name, description in {
        "mass_balance": "The events of the last 24 h explain the rises of the tank's level.",
        "visits_are_plausible": "5 to 40 visits in the last 24 h, when most of them were heard.",
    }.items()
]

_ASSETS = {spec.name: spec.asset_key for spec in (*FEED_CHECKS, *TANK_CHECKS)}


def asset_of(verdict: Verdict) -> dg.AssetKey:
    """The asset that the verdict is about."""
    return _ASSETS[verdict.check]


def evaluation(verdict: Verdict, asset: dg.AssetKey | None = None) -> dg.AssetCheckEvaluation:
    """The verdict as a sensor reports it, without a run; `asset` where the check is not of feed or tank."""
    return dg.AssetCheckEvaluation(
        asset_key=asset or asset_of(verdict),
        check_name=verdict.check,
        passed=verdict.level == "fine",
        severity=dg.AssetCheckSeverity.ERROR if verdict.level == "error" else dg.AssetCheckSeverity.WARN,
        description=verdict.advice,
        metadata=dict(verdict.numbers),
    )


def result(verdict: Verdict, asset: dg.AssetKey | None = None) -> dg.AssetCheckResult:
    """The verdict as a run tells it."""
    told = evaluation(verdict, asset)
    return dg.AssetCheckResult(
        asset_key=told.asset_key,
        check_name=told.check_name,
        passed=told.passed,
        severity=told.severity,
        description=told.description,
        metadata=told.metadata,
    )
