"""The watch over the readings: who has it, and what wakes it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from queue import Empty, Queue

import psycopg
import pytest

from peebot_dagster import watch as watch_module
from peebot_dagster.watch import CHANGED, OFF_DUTY, STORED, Watch

LONG = timedelta(seconds=60)
AT_ONCE = timedelta(milliseconds=50)

NewWatch = Callable[[], Watch]


@pytest.fixture
def new_watch(database_url: str) -> Iterator[NewWatch]:
    connections: list[psycopg.Connection] = []

    def new() -> Watch:
        connections.append(psycopg.connect(database_url, autocommit=True))
        return Watch(connections[-1])

    yield new
    for connection in connections:
        connection.close()


@pytest.fixture
def notify(database_url: str) -> Iterator[Callable[[str, str], None]]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield (
            lambda channel, payload: (
                connection.execute("SELECT pg_notify(%s, %s)", (channel, payload)) and None
            )
        )


def in_background(wait: Callable[[], object]) -> Queue[object]:
    done: Queue[object] = Queue()
    threading.Thread(target=lambda: done.put(wait()), daemon=True).start()
    return done


def test_one_has_the_watch_and_who_stands_by_takes_over_when_it_ends(
    database_url: str, new_watch: NewWatch
) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        assert Watch(connection).take(LONG)
        second = new_watch()
        assert not second.take(AT_ONCE)
        taken = in_background(lambda: second.take(LONG))
        with pytest.raises(Empty):
            taken.get(timeout=0.2)

    assert taken.get(timeout=30) is True


def test_a_watch_that_never_ends_is_ended_by_the_server_and_the_next_has_its_turn(
    new_watch: NewWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_module, "LONGEST", AT_ONCE)
    vanished = new_watch()
    assert vanished.take(LONG)
    monkeypatch.undo()

    assert new_watch().take(LONG)


def test_a_reading_of_a_channel_that_concerns_wakes_and_others_do_not(
    new_watch: NewWatch, notify: Callable[[str, str], None]
) -> None:
    watch = new_watch()
    watch.take(LONG)
    notify(STORED, "3,17,120")

    waiting = in_background(lambda: watch.wait({7, 12}, LONG))
    with pytest.raises(Empty):
        waiting.get(timeout=0.2)

    notify(STORED, "3,12")
    waiting.get(timeout=30)


def test_a_change_of_the_link_wakes_and_changes_of_other_tables_do_not(
    connection: psycopg.Connection, new_watch: NewWatch, notify: Callable[[str, str], None]
) -> None:
    watch = new_watch()
    watch.take(LONG)
    notify(CHANGED, "detected_event")

    waiting = in_background(lambda: watch.wait(set(), LONG))
    with pytest.raises(Empty):
        waiting.get(timeout=0.2)

    connection.execute(
        "INSERT INTO link_interval (source, state, started_at, last_seen_at)"
        " VALUES ('isslive', 'LOS', now(), now())"
    )
    connection.commit()
    waiting.get(timeout=30)


@pytest.mark.parametrize("payload", ["", "7"])
def test_what_was_stored_since_the_watch_began_wakes_it_also_when_the_channels_are_not_told(
    new_watch: NewWatch, notify: Callable[[str, str], None], payload: str
) -> None:
    watch = new_watch()
    watch.take(LONG)
    notify(STORED, payload)

    in_background(lambda: watch.wait({7}, LONG)).get(timeout=30)


def test_off_duty_ends_the_watch_also_of_those_who_stand_by(
    new_watch: NewWatch, notify: Callable[[str, str], None]
) -> None:
    watch = new_watch()
    notify(OFF_DUTY, "")
    watch.take(LONG)

    watch.wait(set(), LONG)

    assert watch.off_duty


def test_off_duty_is_heard_when_it_comes_together_with_what_wakes(
    connection: psycopg.Connection, new_watch: NewWatch
) -> None:
    watch = new_watch()
    watch.take(LONG)
    connection.execute("SELECT pg_notify(%s, '7'), pg_notify(%s, '')", (STORED, OFF_DUTY))
    connection.commit()

    watch.wait({7}, LONG)

    assert watch.off_duty


def test_without_a_notification_the_wait_ends_by_itself(new_watch: NewWatch) -> None:
    watch = new_watch()
    watch.take(LONG)

    watch.wait({7}, AT_ONCE)

    assert not watch.off_duty


def test_a_watch_may_last_for_as_long_as_dagster_is_told_to_wait_for_a_tick() -> None:
    asked = "from peebot_dagster.watch import LONGEST; print(LONGEST.total_seconds())"
    environment = {**os.environ, "DAGSTER_SENSOR_GRPC_TIMEOUT_SECONDS": "600"}
    told = subprocess.run(
        [sys.executable, "-P", "-c", asked], env=environment, capture_output=True, text=True, check=True
    )
    assert told.stdout == "600.0\n"
