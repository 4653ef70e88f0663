"""How the feed fares: reported each minute without a run, and as checks that say what to do."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import dagster as dg
import psycopg

from peebot_dagster.defs.health import (
    FEED_CHECKS,
    TANK_CHECKS,
    TANK_EVENTS,
    asset_of,
    evaluation,
    result,
)
from peebot_dagster.defs.resources import Store
from peebot_dagster.defs.telemetry import telemetry_reading
from peebot_dagster.detectors.detector import Detector
from peebot_dagster.detectors.urine_tank import UrineTankDetector
from peebot_dagster.health import (
    Verdict,
    catalogue,
    clocks,
    gaps,
    liveness,
    mass_balance,
    promptness,
    rejections,
    visit_rate,
)
from peebot_dagster.health_facts import catalogue_facts, clock_tick, link_day, tank_day
from peebot_dagster.store import FeedState, feed_state
from peebot_dagster.told import Told


def urine_tank_of(detectors: Sequence[Detector]) -> UrineTankDetector | None:
    """The detector whose events the tank's checks judge, if it is among these."""
    return next((detector for detector in detectors if isinstance(detector, UrineTankDetector)), None)


def quick_verdicts(connection: psycopg.Connection, feed: FeedState, now: datetime) -> list[Verdict]:
    """What each look at the feed tells: a few milliseconds."""
    tick = clock_tick(connection, now)
    return [liveness(feed, now), promptness(feed, tick, now), rejections(feed), clocks(feed, tick)]


def day_verdicts(connection: psycopg.Connection, now: datetime) -> list[Verdict]:
    """What the last day tells of the feed."""
    link = link_day(connection, now)
    return [gaps(link), catalogue(catalogue_facts(connection, now), link)]


def tank_verdicts(connection: psycopg.Connection, tank: UrineTankDetector, now: datetime) -> list[Verdict]:
    """What the last day tells of the tank's events."""
    day = tank_day(connection, tank.name, tank.level_item, now)
    return [mass_balance(day), visit_rate(day, link_day(connection, now))]


def report(feed: FeedState, before: Told, now: datetime) -> dg.AssetMaterialization | dg.AssetObservation:
    """A materialisation when readings have come in since the report `before`, else an observation.

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
    if before.readings is not None:
        new = feed.readings - before.readings
        metadata["new_readings"] = new
        if before.at is not None and now > before.at and new >= 0:
            metadata["readings_per_second"] = round(new / (now - before.at).total_seconds(), 2)
    if feed.readings != before.readings:
        return dg.AssetMaterialization(asset_key=telemetry_reading.key, metadata=metadata)
    return dg.AssetObservation(asset_key=telemetry_reading.key, metadata=metadata)


def feed_sensor(detectors: Sequence[Detector]) -> dg.SensorDefinition:
    """The sensor `feed_state`, which also judges the tank's events when the tank is among the detectors."""
    tank = urine_tank_of(detectors)

    @dg.sensor(
        name="feed_state",
        asset_selection=[telemetry_reading.key],
        minimum_interval_seconds=60,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=(
            "Reports each minute what the ingest daemon has stored, how old it is, and the feed's state; and "
            "the checks of feed and tank when a result has changed, or half an hour has passed."
        ),
    )
    def feed_state_sensor(context: dg.SensorEvaluationContext, store: Store) -> dg.SensorResult:
        now = datetime.now(UTC)
        before = Told.from_cursor(context.cursor)
        tank_materialized_at = None if tank is None else _materialized_at(context.instance, TANK_EVENTS)
        deeper = before.deeper_look_is_due(now)
        with store.connect() as connection:
            feed = feed_state(connection, now)
            verdicts = quick_verdicts(connection, feed, now)
            if deeper:
                verdicts += day_verdicts(connection, now)
            if tank is not None and (deeper or _hides(before, tank_materialized_at)):
                verdicts += tank_verdicts(connection, tank, now)
        news = [
            verdict
            for verdict in verdicts
            if before.is_news(
                verdict, now, tank_materialized_at if asset_of(verdict) == TANK_EVENTS else None
            )
        ]
        told = replace(
            before,
            readings=feed.readings,
            at=now,
            looked_deeper_at=now if deeper else before.looked_deeper_at,
            checks=before.tell(news, now),
        )
        return dg.SensorResult(
            asset_events=[report(feed, before, now), *(evaluation(verdict) for verdict in news)],
            skip_reason=f"Reported: {feed.state}, {feed.readings} readings stored.",
            cursor=told.to_cursor(),
        )

    return feed_state_sensor


def _materialized_at(instance: dg.DagsterInstance, asset: dg.AssetKey) -> datetime | None:
    event = instance.get_latest_materialization_event(asset)
    return None if event is None else datetime.fromtimestamp(event.timestamp, UTC)


def _hides(before: Told, materialized_at: datetime | None) -> bool:
    """Whether the UI no longer shows what was told of the tank, for the asset was materialized since."""
    told_at = [before.checks[spec.name][1] for spec in TANK_CHECKS if spec.name in before.checks]
    return materialized_at is not None and any(materialized_at >= at for at in told_at)


@dg.multi_asset_check(name="telemetry_reading_checks", specs=FEED_CHECKS)
def feed_checks(store: Store) -> Iterator[dg.AssetCheckResult]:
    """The checks that the sensor evaluates each minute, for running by hand."""
    now = datetime.now(UTC)
    with store.connect() as connection:
        verdicts = quick_verdicts(connection, feed_state(connection, now), now)
        verdicts += day_verdicts(connection, now)
    yield from map(result, verdicts)


def tank_checks(tank: UrineTankDetector) -> dg.AssetChecksDefinition:
    """The checks of the tank's events, for running by hand."""

    @dg.multi_asset_check(name="urine_tank_checks", specs=TANK_CHECKS)
    def checks(store: Store) -> Iterator[dg.AssetCheckResult]:
        with store.connect() as connection:
            verdicts = tank_verdicts(connection, tank, datetime.now(UTC))
        yield from map(result, verdicts)

    return checks
