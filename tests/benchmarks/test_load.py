"""The load, its checksum in Python and in SQL, and that the comparison sees each kind of damage."""

from __future__ import annotations

import psycopg
import pytest

from benchmarks.harness.load import Load
from benchmarks.harness.verification import Comparison, compare
from ingest_daemon.writer import Writer
from tests.benchmarks.sent_readings import ITEMS, SENDS, reading, readings


@pytest.fixture
def stored(connection: psycopg.Connection) -> psycopg.Connection:
    Writer(connection).store(readings(SENDS), [])
    return connection


def comparison_after(connection: psycopg.Connection, damage: str) -> Comparison:
    connection.execute(damage)
    return compare(connection, SENDS, ITEMS)


def test_the_checksum_of_what_is_stored_is_that_of_what_was_sent(stored: psycopg.Connection) -> None:
    assert compare(stored, SENDS, ITEMS) == Comparison(1000, 1000, 0, 0, True, {})


def test_a_lost_row_is_counted_and_changes_the_checksum(stored: psycopg.Connection) -> None:
    found = comparison_after(stored, "DELETE FROM telemetry_reading WHERE value = 62.5")
    assert (found.lost, found.doubled, found.is_same) == (1, 0, False)


def test_a_doubled_row_is_counted_and_changes_the_checksum(stored: psycopg.Connection) -> None:
    twin = readings(SENDS)[7]
    Writer(stored).store([reading(7, twin.ts, event_id=-1)], [])
    found = compare(stored, SENDS, ITEMS)
    assert (found.lost, found.doubled, found.is_same) == (0, 1, False)


def test_one_row_lost_and_another_doubled_are_both_counted(stored: psycopg.Connection) -> None:
    Writer(stored).store([reading(7, readings(SENDS)[7].ts, event_id=-1)], [])
    found = comparison_after(stored, "DELETE FROM telemetry_reading WHERE value = 62.5")
    assert (found.stored, found.lost, found.doubled, found.is_same) == (1000, 1, 1, False)


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE telemetry_reading SET ts = ts + interval '1 ms' WHERE value = 62.5",
        "UPDATE telemetry_reading SET raw_value = '62.50' WHERE value = 62.5",
        "UPDATE telemetry_reading SET channel_id = 1 WHERE value = 62.5",
    ],
)
def test_a_changed_row_changes_the_checksum(stored: psycopg.Connection, damage: str) -> None:
    found = comparison_after(stored, damage)
    assert (found.lost, found.doubled, found.is_same) == (0, 0, False)


def test_a_row_that_nobody_sent_counts_as_doubled(stored: psycopg.Connection) -> None:
    Writer(stored).store([reading(5000, readings(SENDS)[0].ts)], [])
    found = compare(stored, SENDS, ITEMS)
    assert (found.lost, found.doubled, found.is_same) == (0, 1, False)


def test_a_paced_load_sends_its_rate_and_no_more_than_its_time_allows() -> None:
    load = Load(seconds=10.0, rate_per_s=70.0)
    assert load.due(elapsed_s=1.0, sent=60, committed=0) == 10
    assert load.due(elapsed_s=99.0, sent=690, committed=0) == 10
    assert load.due(elapsed_s=99.0, sent=700, committed=0) == 0
    assert load.is_over(10.0)
    assert not load.is_over(9.9)


def test_a_load_without_a_rate_keeps_a_number_of_updates_under_way() -> None:
    load = Load(seconds=10.0, in_flight=100)
    assert load.due(elapsed_s=0.0, sent=0, committed=0) == 100
    assert load.due(elapsed_s=1.0, sent=100, committed=30) == 30
    assert load.due(elapsed_s=1.0, sent=130, committed=30) == 0
    assert load.due(elapsed_s=10.0, sent=100, committed=30) == 0
