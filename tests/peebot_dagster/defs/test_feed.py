from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import psycopg
import pytest

from peebot_dagster.defs.feed import feed_checks, feed_state_sensor, liveness, rejections, report
from peebot_dagster.defs.resources import Store
from peebot_dagster.store import FeedState, feed_state

SECOND = timedelta(seconds=1)
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


def test_loss_of_signal_is_a_warning_and_a_dead_connection_is_an_error() -> None:
    assert liveness(a_feed()).passed
    los, down = liveness(a_feed(state="LOS")), liveness(a_feed(state="DOWN"))
    assert (los.passed, los.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert (down.passed, down.severity) == (False, dg.AssetCheckSeverity.ERROR)


def test_more_than_one_percent_of_rejected_updates_is_a_warning() -> None:
    assert rejections(a_feed(rejected_last_hour=1, received_last_hour=99)).passed
    too_many = rejections(a_feed(rejected_last_hour=2, received_last_hour=98))
    assert (too_many.passed, too_many.severity) == (False, dg.AssetCheckSeverity.WARN)


def test_only_new_readings_keep_the_asset_fresh() -> None:
    assert isinstance(report(a_feed(), 90, NOW), dg.AssetMaterialization)
    assert isinstance(report(a_feed(), 100, NOW), dg.AssetObservation)
    assert report(a_feed(), 90, NOW).metadata["new_readings"].value == 10
    assert report(a_feed(), None, NOW).metadata["lag_s"].value == 2.0


def test_each_tick_reports_the_feed_and_both_checks_without_a_run(
    database_url: str, connection: psycopg.Connection, instance: dg.DagsterInstance
) -> None:
    link(connection, "LOS", datetime.now(UTC))
    context = dg.build_sensor_context(
        instance=instance, resources={"store": Store(database_url=database_url)}
    )

    result = feed_state_sensor(context)

    assert isinstance(result, dg.SensorResult)
    checks = {e.check_name: e.passed for e in result.asset_events if isinstance(e, dg.AssetCheckEvaluation)}
    assert checks == {"feed_is_live": False, "few_updates_rejected": True}
    assert not result.run_requests
    assert result.cursor == "0"


def test_the_checks_can_be_run_by_hand(database_url: str, connection: psycopg.Connection) -> None:
    link(connection, "LIVE", datetime.now(UTC))

    results = feed_checks(store=Store(database_url=database_url))

    assert {r.check_name: r.passed for r in results} == {"feed_is_live": True, "few_updates_rejected": True}
