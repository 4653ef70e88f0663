from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import psycopg
import pytest
from psycopg.types.json import Jsonb

from evaluation.simulated import simulated_window
from peebot_dagster.defs.feed import feed_checks, feed_sensor, report, tank_checks
from peebot_dagster.defs.health import FEED_CHECKS, TANK_CHECKS, TANK_EVENTS, evaluation
from peebot_dagster.defs.resources import Store
from peebot_dagster.detectors.urine_tank import UrineTankDetector
from peebot_dagster.health import Verdict, mass_balance
from peebot_dagster.health_facts import catalogue_facts, clock_tick, link_day, tank_day
from peebot_dagster.store import FeedState, feed_state
from peebot_dagster.told import Told

SECOND = timedelta(seconds=1)
LEEWAY = timedelta(minutes=5)
"""So far ahead the link is confirmed where the clock is real: a tick on a slow machine takes its time."""
NOW = datetime(2025, 3, 1, 12, tzinfo=UTC)


def link(connection: psycopg.Connection, state: str, last_seen_at: datetime, source: str = "isslive") -> None:
    connection.execute(
        "INSERT INTO link_interval (source, state, started_at, last_seen_at) VALUES (%s, %s, %s, %s)",
        (source, state, last_seen_at - 60 * SECOND, last_seen_at),
    )
    connection.commit()


@pytest.mark.parametrize("state", ["LIVE", "LOS", "DOWN"])
def test_the_feed_is_in_the_state_that_the_daemon_confirms(
    connection: psycopg.Connection, state: str
) -> None:
    link(connection, state, NOW - SECOND)

    assert feed_state(connection, NOW).state == state


@pytest.mark.parametrize(("others", "best"), [(("DOWN", "LIVE"), "LIVE"), (("DOWN", "LOS"), "LOS")])
def test_of_several_daemons_the_best_state_that_is_confirmed_counts(
    connection: psycopg.Connection, others: tuple[str, str], best: str
) -> None:
    link(connection, others[0], NOW, "isslive/a")
    link(connection, others[1], NOW - SECOND, "isslive/b")
    link(connection, "LIVE", NOW - 60 * SECOND, "isslive/dead")

    feed = feed_state(connection, NOW)

    assert (feed.state, feed.source) == (best, "isslive/b")


def test_a_link_that_nobody_confirms_any_more_is_down(connection: psycopg.Connection) -> None:
    link(connection, "LIVE", NOW - 20 * SECOND)

    feed = feed_state(connection, NOW)

    assert feed.state == "DOWN"
    assert feed.since == NOW - 20 * SECOND


def test_before_the_first_daemon_the_feed_is_down(connection: psycopg.Connection) -> None:
    feed = feed_state(connection, NOW)

    assert (feed.state, feed.readings, feed.lag(NOW), feed.rejected_share) == ("DOWN", 0, None, 0.0)


def a_feed(**changes: Any) -> FeedState:
    return FeedState(
        **{
            "state": "LIVE",
            "source": "isslive",
            "since": NOW,
            "readings": 100,
            "newest_reading_at": NOW - 2 * SECOND,
            "rejected_last_hour": 0,
            "received_last_hour": 50,
        }
        | changes
    )


def test_only_new_readings_keep_the_asset_fresh() -> None:
    before = Told(readings=90, at=NOW - 60 * SECOND)
    assert isinstance(report(a_feed(), before, NOW), dg.AssetMaterialization)
    assert isinstance(report(a_feed(), Told(readings=100), NOW), dg.AssetObservation)
    assert report(a_feed(), Told(), NOW).metadata["lag_s"].value == 2.0


def test_the_rate_of_the_feed_is_told_as_a_number_to_plot() -> None:
    metadata = report(a_feed(), Told(readings=40, at=NOW - 60 * SECOND), NOW).metadata
    assert metadata["new_readings"].value == 60
    assert metadata["readings_per_second"].value == 1.0


@pytest.mark.parametrize(
    ("level", "passed", "severity"),
    [
        ("fine", True, dg.AssetCheckSeverity.WARN),
        ("warning", False, dg.AssetCheckSeverity.WARN),
        ("error", False, dg.AssetCheckSeverity.ERROR),
    ],
)
def test_a_verdict_becomes_an_evaluation_that_says_what_to_do(
    level: Any, passed: bool, severity: dg.AssetCheckSeverity
) -> None:
    told = evaluation(Verdict("no_gaps", level, "Do this.", {"away_minutes": 3.0}))

    assert (told.passed, told.severity, told.description) == (passed, severity, "Do this.")
    assert told.metadata["away_minutes"].value == 3.0


class Sensor:
    """The sensor with its cursor, tick by tick."""

    def __init__(self, database_url: str, instance: dg.DagsterInstance) -> None:
        self.sensor = feed_sensor([UrineTankDetector()])
        self.store = Store(database_url=database_url)
        self.instance = instance
        self.cursor: str | None = None

    def tick(self) -> dict[str, dg.AssetCheckEvaluation]:
        context = dg.build_sensor_context(
            instance=self.instance, cursor=self.cursor, resources={"store": self.store}
        )
        result = self.sensor(context)
        assert isinstance(result, dg.SensorResult)
        assert not result.run_requests
        self.cursor = result.cursor
        self.reports = [
            e for e in result.asset_events if isinstance(e, (dg.AssetMaterialization, dg.AssetObservation))
        ]
        return {e.check_name: e for e in result.asset_events if isinstance(e, dg.AssetCheckEvaluation)}


@pytest.fixture
def sensor(database_url: str, instance: dg.DagsterInstance) -> Sensor:
    return Sensor(database_url, instance)


def test_each_tick_reports_the_feed_but_a_check_only_when_its_result_changes(
    sensor: Sensor, connection: psycopg.Connection
) -> None:
    link(connection, "LOS", datetime.now(UTC))

    first = sensor.tick()
    assert set(first) == {spec.name for spec in (*FEED_CHECKS, *TANK_CHECKS)}
    assert not first["feed_is_live"].passed
    assert first["few_updates_rejected"].passed

    assert sensor.tick() == {}
    assert len(sensor.reports) == 1

    connection.execute("UPDATE link_interval SET state = 'LIVE', last_seen_at = now() + %s", (LEEWAY,))
    connection.commit()
    later = sensor.tick()
    assert set(later) == {"feed_is_live"}
    assert later["feed_is_live"].passed


def test_the_tanks_checks_are_told_again_when_a_run_has_materialized_its_events(
    sensor: Sensor, connection: psycopg.Connection, instance: dg.DagsterInstance
) -> None:
    link(connection, "LIVE", datetime.now(UTC) + LEEWAY)
    sensor.tick()

    instance.report_runless_asset_event(dg.AssetMaterialization(TANK_EVENTS))

    assert set(sensor.tick()) == {spec.name for spec in TANK_CHECKS}
    assert sensor.tick() == {}


def test_the_checks_can_be_run_by_hand(database_url: str, connection: psycopg.Connection) -> None:
    link(connection, "LIVE", datetime.now(UTC) + LEEWAY)

    store = Store(database_url=database_url)
    results = {r.check_name: r.passed for r in feed_checks(store=store)}
    results |= {r.check_name: r.passed for r in tank_checks(UrineTankDetector())(store=store)}

    assert results == {spec.name: True for spec in (*FEED_CHECKS, *TANK_CHECKS)}


def reading(
    connection: psycopg.Connection, item: str, value: float, ts: datetime, delay: timedelta = SECOND
) -> None:
    connection.execute("SELECT create_telemetry_chunks(%s, %s)", (ts, ts))
    connection.execute(
        "INSERT INTO telemetry_reading (channel_id, ts, received_at, value, raw_value, status_class,"
        " is_snapshot, event_id) SELECT channel_id, %s, %s, %s, %s, 24, false, %s"
        " FROM telemetry_channel WHERE item_id = %s",
        (ts, ts + delay, value, str(value), hash((item, ts, value)), item),
    )
    connection.commit()


def test_the_stations_clock_is_read_with_its_year(connection: psycopg.Connection) -> None:
    assert clock_tick(connection, NOW) is None

    reading(connection, "TIME_000002", 2025.0, NOW - timedelta(days=20))
    reading(connection, "TIME_000001", 1000.0, NOW - 5 * SECOND)
    reading(connection, "TIME_000001", 2000.0, NOW - 4 * SECOND)

    tick = clock_tick(connection, NOW)
    assert tick is not None
    assert (tick.value_ms, tick.year, tick.received_at) == (2000.0, 2025, NOW - 3 * SECOND)


def test_the_day_of_the_link_begins_with_the_first_daemon(connection: psycopg.Connection) -> None:
    assert link_day(connection, NOW).span == timedelta(0)

    for state, start, end in (("LIVE", 600, 300), ("LOS", 300, 240), ("DOWN", 240, 180), ("LIVE", 60, 0)):
        connection.execute(
            "INSERT INTO link_interval (source, state, started_at, last_seen_at, ended_at)"
            " VALUES ('isslive', %(state)s, %(start)s, %(end)s, %(end)s)",
            {"state": state, "start": NOW - start * SECOND, "end": NOW - end * SECOND},
        )
    connection.commit()

    day = link_day(connection, NOW)
    assert (day.span, day.live, day.los, day.down) == tuple(s * SECOND for s in (600, 360, 60, 60))
    assert day.away == 180 * SECOND


def test_items_that_only_one_side_knows_are_found(connection: psycopg.Connection) -> None:
    connection.execute(
        "INSERT INTO telemetry_channel (item_id, name, subsystem, kind, catalogued)"
        " VALUES ('NEW000001', 'New', 'Unknown', 'unknown', false)"
    )
    connection.execute("SELECT create_minute_chunks(%s, %s)", (NOW, NOW))
    connection.execute(
        "INSERT INTO telemetry_minute (channel_id, minute, readings, live_seconds)"
        " SELECT channel_id, %s, 1, 60 FROM telemetry_channel WHERE item_id = 'NODE3000005'",
        (NOW - 3 * 60 * SECOND,),
    )
    connection.commit()

    facts = catalogue_facts(connection, NOW)

    assert list(facts.unknown) == ["NEW000001"]
    assert "NODE3000005" not in facts.unheard
    assert len(facts.unheard) == facts.catalogued - 1


def test_a_simulated_day_of_the_tank_is_balanced_and_plausible(connection: psycopg.Connection) -> None:
    detector = UrineTankDetector()
    since = NOW - timedelta(hours=36)
    window, _ = simulated_window(detector.items, seed=3, since=since, days=1.5)
    events = detector.detect(window)
    connection.execute("SELECT create_telemetry_chunks(%s, %s)", (since, NOW))
    connection.cursor().executemany(
        "INSERT INTO telemetry_reading (channel_id, ts, received_at, value, raw_value, status_class,"
        " is_snapshot, event_id) SELECT channel_id, %s, %s, %s, '', 24, false, %s"
        " FROM telemetry_channel WHERE item_id = %s",
        [
            (row.ts, row.ts, row.value, number, row.item)
            for number, row in enumerate(window.readings.itertuples())
        ],
    )
    connection.cursor().executemany(
        "INSERT INTO detected_event (event_id, detector, detector_version, event_type, started_at, ended_at,"
        " state, confidence, payload) VALUES (%s, %s, '2', %s, %s, %s, 'closed', 0.9, %s)",
        [
            (e.event_id, e.detector, e.event_type, e.started_at, e.ended_at, Jsonb(dict(e.payload)))
            for e in events
        ],
    )
    connection.execute(
        "INSERT INTO processor_state (detector, version, watermark) VALUES (%s, '2', %s)",
        (detector.name, NOW),
    )
    connection.commit()

    day = tank_day(connection, detector.name, detector.level_item, NOW)

    assert day is not None
    assert 5 <= day.visits <= 40
    assert day.rises_percent > 20
    assert mass_balance(day).level == "fine"
    connection.execute("DELETE FROM detected_event WHERE event_type = 'tank_transfer'")
    connection.execute("DELETE FROM detected_event WHERE event_type = 'toilet_visit'")
    assert mass_balance(tank_day(connection, detector.name, detector.level_item, NOW)).level == "warning"
