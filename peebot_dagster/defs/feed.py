"""How the feed fares: reported each minute without a run, and as checks that say what to do."""

from collections.abc import Iterator
from datetime import UTC, datetime

import dagster as dg

from peebot_dagster.defs.resources import Store
from peebot_dagster.defs.telemetry import telemetry_reading
from peebot_dagster.store import FeedState, feed_state

REJECTED_SHARE_LIMIT = 0.01

FEED_IS_LIVE = dg.AssetCheckSpec(
    "feed_is_live",
    asset=telemetry_reading.key,
    description=(
        "Telemetry is coming in. LOS is a warning and passes by itself: the station is out of contact. "
        "DOWN is an error: the ingest daemon does not run or does not reach the server."
    ),
)
FEW_REJECTED = dg.AssetCheckSpec(
    "few_updates_rejected",
    asset=telemetry_reading.key,
    description="At most 1 % of the last hour's updates failed validation (table rejected_reading).",
)


def liveness(feed: FeedState) -> dg.AssetCheckEvaluation:
    """Passed while LIVE; a warning in LOS, an error when DOWN."""
    advice = {
        "LIVE": "Telemetry is coming in.",
        "LOS": "Loss of signal: wait, the station comes back by itself; normal up to some tens of minutes.",
        "DOWN": "No connection to the feed: see whether the ingest daemon runs and what its log says.",
    }
    return dg.AssetCheckEvaluation(
        asset_key=FEED_IS_LIVE.asset_key,
        check_name=FEED_IS_LIVE.name,
        passed=feed.state == "LIVE",
        severity=dg.AssetCheckSeverity.ERROR if feed.state == "DOWN" else dg.AssetCheckSeverity.WARN,
        description=advice[feed.state],
        metadata={"state": feed.state, "since": feed.since.isoformat() if feed.since else "never"},
    )


def rejections(feed: FeedState) -> dg.AssetCheckEvaluation:
    """A warning when too many updates of the last hour were rejected."""
    return dg.AssetCheckEvaluation(
        asset_key=FEW_REJECTED.asset_key,
        check_name=FEW_REJECTED.name,
        passed=feed.rejected_share <= REJECTED_SHARE_LIMIT,
        severity=dg.AssetCheckSeverity.WARN,
        description="Reasons and raw fields are in the table rejected_reading.",
        metadata={
            "rejected_percent": 100 * feed.rejected_share,
            "rejected_last_hour": feed.rejected_last_hour,
        },
    )


def report(
    feed: FeedState, before: int | None, now: datetime
) -> dg.AssetMaterialization | dg.AssetObservation:
    """A materialisation when readings have come in since `before` were stored, else an observation.

    Only materialisations keep the asset fresh, so a silent feed turns it stale.
    """
    lag = feed.lag(now)
    metadata: dict[str, str | int | float] = {
        "state": feed.state,
        "source": feed.source or "none",
        "dagster/row_count": feed.readings,
        "readings_last_hours": feed.received_last_hour,
        "rejected_last_hour": feed.rejected_last_hour,
    }
    if lag is not None:
        metadata["lag_s"] = lag.total_seconds()
    if before is not None:
        metadata["new_readings"] = feed.readings - before
    if feed.readings != before:
        return dg.AssetMaterialization(asset_key=telemetry_reading.key, metadata=metadata)
    return dg.AssetObservation(asset_key=telemetry_reading.key, metadata=metadata)


@dg.sensor(
    name="feed_state",
    asset_selection=[telemetry_reading.key],
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Reports each minute what the ingest daemon has stored, how old it is, and the feed's state.",
)
def feed_state_sensor(context: dg.SensorEvaluationContext, store: Store) -> dg.SensorResult:
    now = datetime.now(UTC)
    with store.connect() as connection:
        feed = feed_state(connection, now)
    before = int(context.cursor) if context.cursor else None
    return dg.SensorResult(
        asset_events=[report(feed, before, now), liveness(feed), rejections(feed)],
        skip_reason=f"Reported: {feed.state}, {feed.readings} readings stored.",
        cursor=str(feed.readings),
    )


@dg.multi_asset_check(name="telemetry_reading_checks", specs=[FEED_IS_LIVE, FEW_REJECTED])
def feed_checks(store: Store) -> Iterator[dg.AssetCheckResult]:
    """The checks that the sensor evaluates each minute, for running by hand."""
    with store.connect() as connection:
        feed = feed_state(connection, datetime.now(UTC))
    for evaluation in (liveness(feed), rejections(feed)):
        yield dg.AssetCheckResult(
            asset_key=evaluation.asset_key,
            check_name=evaluation.check_name,
            passed=evaluation.passed,
            severity=evaluation.severity,
            description=evaluation.description,
            metadata=evaluation.metadata,
        )
