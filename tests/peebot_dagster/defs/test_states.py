"""States that a detector follows at once, however long it rests otherwise."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import dagster as dg
import psycopg
import pytest

from peebot_dagster.defs.live import live_detection_sensors
from peebot_dagster.defs.resources import Store
from peebot_dagster.detectors.candidate import Candidate
from peebot_dagster.detectors.detector import DetectedEvent, Detector, Window, state_items
from peebot_dagster.detectors.registry import DETECTORS
from peebot_dagster.states import HURRY, QUICKEST, REMEMBERED, States
from tests.peebot_dagster.defs.conftest import JumpDetector

StoreReadings = Callable[..., None]

MODE = "NODE3000004"
SECOND = timedelta(seconds=1)
NOW = datetime.now(UTC).replace(microsecond=0)


@dataclass(frozen=True)
class ModeDetector(JumpDetector):
    """Its mode is a state, its level is not, and it may rest for an hour."""

    name: str = "mode"
    items: tuple[str, ...] = (*JumpDetector.items, MODE)
    state_items: tuple[str, ...] = (MODE,)
    trigger_interval: timedelta = timedelta(hours=1)
    seen: list[float] = field(default_factory=list)

    def detect(self, window: Window) -> list[DetectedEvent]:
        """Notes the newest mode of each window."""
        readings = window.readings
        self.seen.append(readings["value"][readings["item"] == MODE].iloc[-1])
        levels = readings[readings["item"] != MODE]
        return super().detect(replace(window, readings=levels))


@dataclass(frozen=True)
class LinkDetector(JumpDetector):
    """Follows the link."""

    name: str = "link"
    follows_link: bool = True
    trigger_interval: timedelta = timedelta(hours=1)


@pytest.fixture
def mode() -> Detector:
    return ModeDetector()


def hurries_since(states: States, detector: Detector, moment: datetime) -> bool:
    """Whether a change of the detector's states was noted at that moment (UTC) and not later."""
    last = moment + HURRY
    states.looked(detector, timedelta(0))
    hurries = states.rest(detector, moment) == QUICKEST and states.rest(detector, last) < SECOND * 10
    return hurries and states.rest(detector, last + SECOND) == detector.trigger_interval


def test_only_another_value_is_a_change_and_what_is_found_first_is_none(
    connection: psycopg.Connection, store_readings: StoreReadings, mode: Detector
) -> None:
    states = States([mode])
    store_readings([(NOW - 60 * SECOND, 4)], MODE)
    states.observe(connection, NOW)
    assert states.rest(mode, NOW) == mode.trigger_interval

    # The feed repeats the state, another channel speaks, and an older state comes late.
    store_readings([(NOW, 4), (NOW - 90 * SECOND, 16)], MODE)
    store_readings([(NOW, 50)])
    states.observe(connection, NOW + SECOND)
    assert states.rest(mode, NOW) == mode.trigger_interval

    store_readings([(NOW + SECOND, 16)], MODE)
    states.observe(connection, NOW + 2 * SECOND)
    states.observe(connection, NOW + 3 * SECOND)
    assert hurries_since(states, mode, NOW + 2 * SECOND)


def test_a_stamp_of_tomorrow_hides_no_change_of_today(
    connection: psycopg.Connection, store_readings: StoreReadings, mode: Detector
) -> None:
    states = States([mode])
    store_readings([(NOW - SECOND, 4), (NOW + timedelta(hours=19), 4)], MODE)
    states.observe(connection, NOW)
    store_readings([(NOW, 16)], MODE)

    states.observe(connection, NOW + SECOND)

    assert hurries_since(states, mode, NOW + SECOND)


def test_a_state_that_was_not_told_for_a_day_has_not_changed_nor_when_it_is_told_again(
    connection: psycopg.Connection, store_readings: StoreReadings, mode: Detector
) -> None:
    states = States([mode])
    store_readings([(NOW - REMEMBERED, 4)], MODE)
    states.observe(connection, NOW)
    states.observe(connection, NOW + SECOND)
    store_readings([(NOW + SECOND, 4)], MODE)
    states.observe(connection, NOW + 2 * SECOND)
    assert states.rest(mode, NOW) == mode.trigger_interval

    store_readings([(NOW + 2 * SECOND, 16)], MODE)
    states.observe(connection, NOW + 3 * SECOND)
    assert hurries_since(states, mode, NOW + 3 * SECOND)


def test_the_first_word_of_a_channel_that_was_silent_is_a_change(
    connection: psycopg.Connection, store_readings: StoreReadings, mode: Detector
) -> None:
    states = States([mode])
    states.observe(connection, NOW)
    store_readings([(NOW, 4)], MODE)

    states.observe(connection, NOW + SECOND)

    assert hurries_since(states, mode, NOW + SECOND)


def test_a_change_of_the_link_is_one_for_those_who_follow_it_and_a_heartbeat_is_none(
    connection: psycopg.Connection, live_link: Callable[..., None], mode: Detector
) -> None:
    follower = LinkDetector()
    states = States([mode, follower])
    live_link(NOW - 60 * SECOND, NOW)
    states.observe(connection, NOW)
    connection.execute("UPDATE link_interval SET last_seen_at = last_seen_at + interval '1 second'")
    live_link(NOW, NOW + SECOND, "replay/1")
    states.observe(connection, NOW + SECOND)
    assert states.rest(follower, NOW) == follower.trigger_interval

    # A row that begins when the one before it did tells of a change, too.
    live_link(NOW - 60 * SECOND, NOW + 2 * SECOND, "another")
    live_link(NOW - 60 * SECOND, NOW + 2 * SECOND, "replay/1")
    states.observe(connection, NOW + 2 * SECOND)

    assert hurries_since(states, follower, NOW + 2 * SECOND)
    assert states.rest(mode, NOW) == mode.trigger_interval


def test_a_state_that_flutters_ends_no_rest_until_it_has_been_calm_for_a_while(
    connection: psycopg.Connection, store_readings: StoreReadings, mode: Detector
) -> None:
    states = States([mode])
    states.observe(connection, NOW)

    def is_looked_at_once_after_a_change(second: int, value: float) -> bool:
        now = NOW + second * SECOND
        store_readings([(now, value)], MODE)
        states.observe(connection, now)
        pressing = not states.rest(mode, now - SECOND)
        states.looked(mode, SECOND / 4)
        # However the look has ended, and whatever the clock says then.
        assert states.rest(mode, now - SECOND) == 5 * SECOND
        return pressing

    assert is_looked_at_once_after_a_change(1, 4)
    assert not is_looked_at_once_after_a_change(2, 16)
    assert not is_looked_at_once_after_a_change(61, 4)
    assert is_looked_at_once_after_a_change(122, 16)


def test_a_detector_that_takes_long_to_look_hurries_less(
    connection: psycopg.Connection, store_readings: StoreReadings, mode: Detector
) -> None:
    states = States([mode])
    states.observe(connection, NOW)
    store_readings([(NOW, 4)], MODE)
    states.observe(connection, NOW)
    states.looked(mode, SECOND / 4)

    assert states.rest(mode, NOW) == 5 * SECOND


def test_a_candidate_follows_the_states_that_its_detector_does(mode: Detector, jump: Detector) -> None:
    assert state_items(Candidate(mode)) == (MODE,)
    assert state_items(Candidate(jump)) == ()


def test_a_resting_detector_is_woken_when_its_state_changes_and_not_by_its_other_channels(
    connection: psycopg.Connection,
    database_url: str,
    instance: dg.DagsterInstance,
    store_readings: StoreReadings,
) -> None:
    mode = ModeDetector()

    def store_and_notify(at: datetime, value: float, item: str) -> None:
        store_readings([(at, value)], item)
        connection.execute(
            "SELECT pg_notify('telemetry_stored', channel_id::text) FROM telemetry_channel"
            " WHERE item_id = %s",
            (item,),
        )
        connection.commit()

    level = JumpDetector.items[0]
    store_readings([(NOW - 600 * SECOND, 5)], level)
    store_readings([(NOW - 600 * SECOND, 4)], MODE)
    sensor, _ = live_detection_sensors([mode], timedelta(seconds=50))
    context = dg.build_sensor_context(
        instance=instance, resources={"store": Store(database_url=database_url)}
    )
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(sensor, context)
        wait_until_looked(connection, waiting)
        # A rise by 3, which the detector would tell if it looked: it rests.
        store_and_notify(NOW - 300 * SECOND, 8, level)
        store_and_notify(NOW - 290 * SECOND, 16, MODE)

        result = waiting.result(timeout=45)

    assert isinstance(result, dg.SensorResult)
    assert connection.execute("SELECT event_type FROM detected_event").fetchall() == [("jump",)]
    assert mode.seen == [4, 16]


def test_a_loss_of_signal_is_an_event_before_its_detector_has_rested(
    connection: psycopg.Connection,
    database_url: str,
    instance: dg.DagsterInstance,
    store_readings: StoreReadings,
    live_link: Callable[..., None],
) -> None:
    signal = DETECTORS["signal"]
    store_readings([(NOW - 600 * SECOND, 5)], *signal.items)
    live_link(NOW - 600 * SECOND, NOW - 10 * SECOND)
    sensor, _ = live_detection_sensors([signal], timedelta(seconds=50))
    context = dg.build_sensor_context(
        instance=instance, resources={"store": Store(database_url=database_url)}
    )
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(sensor, context)
        wait_until_looked(connection, waiting)
        connection.execute("UPDATE telemetry_revision SET revision = revision + 1")
        connection.execute(
            "INSERT INTO link_interval (source, state, started_at, last_seen_at)"
            " VALUES ('isslive', 'LOS', %s, %s)",
            (NOW - 10 * SECOND, NOW),
        )
        connection.commit()
        result = waiting.result(timeout=45)

    assert isinstance(result, dg.SensorResult)
    found = connection.execute("SELECT event_type, state FROM detected_event").fetchall()
    assert found == [("signal_loss", "open")]
    assert signal.trigger_interval > timedelta(seconds=50)


def wait_until_looked(connection: psycopg.Connection, waiting: Future[object]) -> None:
    """Polls, as a look tells nobody that it has been made."""
    while not connection.execute("SELECT 1 FROM detector_look").fetchone():
        connection.rollback()
        assert not waiting.done()
        time.sleep(0.02)
