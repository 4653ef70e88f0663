from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import dagster as dg
import psycopg
import pytest

from peebot_dagster.defs.live import live_detection_sensors
from peebot_dagster.defs.partitions import hour_key
from peebot_dagster.defs.resources import Store
from peebot_dagster.detectors.detector import Detector
from peebot_dagster.heard import CHANNELS_HEARD
from peebot_dagster.looks import HOURS_PER_LOOK
from tests.peebot_dagster.defs.ticks import materializations, skip_reason

StoreReadings = Callable[..., None]
Tick = Callable[..., dg.SensorResult]

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)


def test_a_tick_stores_the_event_and_reports_the_hour_it_belongs_to(
    connection: psycopg.Connection, store_readings: StoreReadings, tick: Tick, jump: Detector, day: datetime
) -> None:
    store_readings([(day, 5), (day + 30 * MINUTE, 8)])

    result = tick(jump)

    (report,) = materializations(result)
    assert report.asset_key == dg.AssetKey("jump_events")
    assert report.partition == hour_key(day)
    assert report.metadata["jump"].value == 1
    assert connection.execute("SELECT count(*) FROM detected_event").fetchone() == (1,)


def test_a_tick_without_news_does_nothing_and_says_so(
    connection: psycopg.Connection, store_readings: StoreReadings, tick: Tick, jump: Detector, day: datetime
) -> None:
    store_readings([(day, 5), (day + 30 * MINUTE, 8)])
    first = tick(jump)
    (ran_at,) = connection.execute("SELECT last_run_at FROM processor_state").fetchone() or (None,)

    second = tick(jump)

    assert skip_reason(first) == "Looked at 1 hour up to 00:30:00 UTC; 1 event changed."
    assert skip_reason(second) == "Nothing new."
    assert not second.asset_events
    assert connection.execute("SELECT last_run_at FROM processor_state").fetchone() == (ran_at,)


def test_a_tick_that_looked_at_new_telemetry_in_vain_says_so(
    store_readings: StoreReadings, tick: Tick, jump: Detector, day: datetime
) -> None:
    store_readings([(day, 5), (day + 61 * MINUTE, 5)])

    assert skip_reason(tick(jump)) == "Looked at 2 hours up to 01:01:00 UTC; no event changed."


@pytest.mark.parametrize(
    ("name", "value"), [("PEEBOT_POSTS", "off"), ("PEEBOT_POST_COOLDOWN_MINUTES", "soon")]
)
def test_a_setting_of_the_posts_that_is_not_understood_stops_no_detection_and_is_told_in_each_tick(
    store_readings: StoreReadings,
    tick: Tick,
    jump: Detector,
    day: datetime,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    value: str,
) -> None:
    monkeypatch.setenv(name, value)
    store_readings([(day, 5), (day + 30 * MINUTE, 8)])

    result = tick(jump)

    assert len(materializations(result)) == 1
    assert not result.run_requests
    assert f"Nothing is posted: {name}" in skip_reason(result)
    assert name in skip_reason(tick(jump))


def test_a_look_that_finds_the_same_events_as_before_tells_nobody_of_a_change(
    connection: psycopg.Connection,
    database_url: str,
    store_readings: StoreReadings,
    tick: Tick,
    jump: Detector,
    day: datetime,
) -> None:
    with psycopg.connect(database_url, autocommit=True) as listener:
        listener.execute("LISTEN peebot_changed")
        store_readings([(day, 5), (day + 30 * MINUTE, 8), (day + 40 * MINUTE, 8)])
        tick(jump)
        told = [note.payload for note in listener.notifies(timeout=30, stop_after=1)]
        assert told == ["detected_event"]

        store_readings([(day + 50 * MINUTE, 8)])
        assert skip_reason(tick(jump)).endswith("no event changed.")
        listener.execute("NOTIFY peebot_changed, 'the end'")

        assert [note.payload for note in listener.notifies(timeout=30, stop_after=1)] == ["the end"]


def test_a_lost_memory_of_what_was_seen_costs_a_rerun_and_tells_the_same_of_the_newest_hour(
    connection: psycopg.Connection, store_readings: StoreReadings, tick: Tick, jump: Detector, day: datetime
) -> None:
    store_readings([(day, 5), (day + 30 * MINUTE, 8)])
    (told,) = materializations(tick(jump))
    connection.execute("DELETE FROM detector_look")
    connection.commit()

    again = tick(jump)

    assert skip_reason(again) == "Looked at 1 hour up to 00:30:00 UTC; no event changed."
    assert materializations(again) == [told]


def test_an_hour_in_which_nothing_happens_is_reported_too_as_soon_as_it_is_looked_at(
    store_readings: StoreReadings, tick: Tick, jump: Detector, day: datetime
) -> None:
    store_readings([(day, 5), (day + 30 * MINUTE, 5)])

    (told,) = materializations(tick(jump))

    assert told.partition == hour_key(day)
    assert told.metadata["jump"].value == 0


def test_after_days_of_replay_the_newest_hours_come_first_and_the_rest_follows_tick_by_tick(
    connection: psycopg.Connection, store_readings: StoreReadings, tick: Tick, jump: Detector, day: datetime
) -> None:
    hours = HOURS_PER_LOOK * 2 + 10
    store_readings([(day + i * HOUR + 30 * MINUTE, float(3 * i)) for i in range(hours)])

    first = tick(jump)
    assert materializations(first)[-1].partition == hour_key(day + (hours - 1) * HOUR)
    assert number_of_events(connection) == HOURS_PER_LOOK
    tick(jump)
    assert number_of_events(connection) == 2 * HOURS_PER_LOOK
    tick(jump)
    assert number_of_events(connection) == hours - 1


def number_of_events(connection: psycopg.Connection) -> int:
    ((count,),) = connection.execute("SELECT count(*) FROM detected_event").fetchall()
    connection.rollback()
    return int(count)


def test_a_detector_whose_channels_have_died_on_a_live_link_is_reported_with_a_warning(
    connection: psycopg.Connection, store_readings: StoreReadings, tick: Tick, jump: Detector
) -> None:
    now = datetime.now(UTC)
    connection.execute(
        "INSERT INTO link_interval (source, state, started_at, last_seen_at)"
        " VALUES ('isslive', 'LIVE', %s, %s)",
        (now - 48 * HOUR, now),
    )
    store_readings([(now - 30 * HOUR, 5)])
    store_readings([(now - MINUTE, 16)], "NODE3000004")

    (check,) = [e for e in tick(jump).asset_events if getattr(e, "check_name", "") == CHANNELS_HEARD]

    assert isinstance(check, dg.AssetCheckEvaluation)
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "NODE3000005" in (check.description or "")


def test_readings_of_other_channels_give_no_reason_to_look(
    store_readings: StoreReadings, tick: Tick, jump: Detector, day: datetime
) -> None:
    store_readings([(day, 5), (day + 30 * MINUTE, 5)])
    tick(jump)
    store_readings([(day + 40 * MINUTE, 16)], "NODE3000004")

    assert skip_reason(tick(jump)) == "Nothing new."

    store_readings([(day + 20 * MINUTE, 9)])
    assert len(materializations(tick(jump))) == 1, "late ones of its own do"


def test_a_change_of_the_link_gives_a_reason_to_look(
    connection: psycopg.Connection, store_readings: StoreReadings, tick: Tick, jump: Detector, day: datetime
) -> None:
    store_readings([(day, 5), (day + 30 * MINUTE, 5)])
    tick(jump)
    connection.execute("UPDATE telemetry_revision SET revision = revision + 1")
    connection.commit()

    assert skip_reason(tick(jump)).startswith("Looked at 1 hour")


def test_a_detector_with_a_trigger_interval_rests_between_its_looks(
    store_readings: StoreReadings, tick: Tick, jump: Detector, day: datetime
) -> None:
    unhurried = replace(jump, trigger_interval=timedelta(seconds=30))  # type: ignore[type-var]
    store_readings([(day, 5), (day + 30 * MINUTE, 5)])
    tick(unhurried)
    store_readings([(day + 40 * MINUTE, 9)])

    assert skip_reason(tick(unhurried, late=timedelta(seconds=25))) == "Nothing new."
    assert len(materializations(tick(unhurried, late=timedelta(seconds=31)))) == 1


def test_an_open_event_closes_by_time_alone(
    connection: psycopg.Connection,
    store_readings: StoreReadings,
    tick: Tick,
    jump: Detector,
    day: datetime,
) -> None:
    store_readings([(day, 5), (day + 30 * MINUTE, 8)])
    confirm_link(connection, day + 30 * MINUTE)
    tick(jump)
    assert connection.execute("SELECT state FROM detected_event").fetchone() == ("open",)
    confirm_link(connection, day + 31 * MINUTE)

    tick(jump, late=timedelta(seconds=2))

    assert connection.execute("SELECT state FROM detected_event").fetchone() == ("closed",)


def test_a_waiting_tick_ends_when_the_reading_that_decides_is_committed(
    connection: psycopg.Connection,
    database_url: str,
    instance: dg.DagsterInstance,
    store_readings: StoreReadings,
    jump: Detector,
    day: datetime,
) -> None:
    store_readings([(day, 5)])
    sensor, _ = live_detection_sensors([jump], timedelta(seconds=50))
    context = dg.build_sensor_context(
        instance=instance, resources={"store": Store(database_url=database_url)}
    )
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(sensor, context)
        while not connection.execute("SELECT 1 FROM detector_look").fetchone():
            connection.rollback()
            assert not waiting.done()
        store_readings([(day + 30 * MINUTE, 8)])
        connection.execute("NOTIFY telemetry_stored")
        connection.commit()

        result = waiting.result(timeout=45)

    assert isinstance(result, dg.SensorResult)
    assert len(materializations(result)) == 1


def test_what_is_committed_without_a_notification_is_found_by_the_next_tick(
    store_readings: StoreReadings, tick: Tick, jump: Detector, day: datetime
) -> None:
    store_readings([(day, 5)])
    tick(jump)
    store_readings([(day + 30 * MINUTE, 8)])

    assert len(materializations(tick(jump))) == 1


def confirm_link(connection: psycopg.Connection, now: datetime) -> None:
    """The daemon's heartbeat, which raises no revision."""
    connection.execute(
        "INSERT INTO link_interval (source, state, started_at, last_seen_at)"
        " VALUES ('isslive', 'LIVE', %s, %s)"
        " ON CONFLICT (source) WHERE ended_at IS NULL DO UPDATE SET last_seen_at = excluded.last_seen_at",
        (now, now),
    )
    connection.commit()


def test_a_tick_that_fails_says_why_and_the_next_one_catches_up(
    connection: psycopg.Connection,
    database_url: str,
    instance: dg.DagsterInstance,
    store_readings: StoreReadings,
    tick: Tick,
    jump: Detector,
    day: datetime,
) -> None:
    store_readings([(day, 5), (day + 30 * MINUTE, 8)])
    sensor, _ = live_detection_sensors([jump], timedelta(0))
    context = dg.build_sensor_context(
        instance=instance, resources={"store": Store(database_url=database_url + "_that_is_gone")}
    )

    with pytest.raises(psycopg.OperationalError, match="_that_is_gone"):
        sensor(context)

    assert len(materializations(tick(jump))) == 1
