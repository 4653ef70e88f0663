from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from ingest_daemon.reading import RawUpdate, Reading, Rejection, parse
from ingest_daemon.writer import StoredCounts, Writer

pytestmark = pytest.mark.every_edition

# Not long ago: of other days the role may not have chunks made.
NOON = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0) - timedelta(days=2)


def reading(seconds: float, value: str = "17", item: str = "NODE3000005") -> Reading:
    ts = NOON + timedelta(seconds=seconds)
    hours = (ts - datetime(ts.year, 1, 1, tzinfo=UTC)) / timedelta(hours=1) + 24
    parsed = parse(RawUpdate(item, repr(hours), value, "24", None, None, None, False, ts))
    assert isinstance(parsed, Reading)
    return parsed


def rejection(reason: str = "value_missing") -> Rejection:
    return Rejection("NODE3000005", {"Value": None}, reason, NOON)


@pytest.fixture
def ingest_url(login_as: Callable[[str], str]) -> str:
    return login_as("peebot_ingest")


@pytest.fixture
def writer_connection(ingest_url: str) -> Iterator[psycopg.Connection]:
    """What the daemon has: the rights of peebot_ingest, and no more."""
    with psycopg.connect(ingest_url) as connection:
        yield connection


@pytest.fixture
def owner(database_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


def count(connection: psycopg.Connection, table: str) -> int:
    queries = {
        "telemetry_reading": "SELECT count(*) FROM telemetry_reading",
        "rejected_reading": "SELECT count(*) FROM rejected_reading",
        "telemetry_channel": "SELECT count(*) FROM telemetry_channel",
    }
    row = connection.execute(queries[table]).fetchone()
    assert row is not None
    return int(row[0])


def test_a_batch_is_committed_and_counted(
    writer_connection: psycopg.Connection, owner: psycopg.Connection
) -> None:
    counts = Writer(writer_connection).store([reading(0), reading(1, "18")], [rejection()])
    assert counts == StoredCounts(stored=2, duplicates=0, rejected=1)
    rows = owner.execute(
        "SELECT item_id, ts, value, raw_value, status_class, is_snapshot, event_id"
        " FROM telemetry_reading JOIN telemetry_channel USING (channel_id) ORDER BY ts"
    ).fetchall()
    expected = [reading(0), reading(1, "18")]
    assert rows == [
        (r.item, r.ts, r.value, r.raw_value, r.status_class, r.is_snapshot, r.event_id) for r in expected
    ]
    rejected = owner.execute("SELECT item_id, fields, reason, received_at FROM rejected_reading")
    assert rejected.fetchall() == [("NODE3000005", {"Value": None}, "value_missing", NOON)]


def test_the_same_update_delivered_twice_is_one_row(
    writer_connection: psycopg.Connection, owner: psycopg.Connection
) -> None:
    writer = Writer(writer_connection)
    assert writer.store([reading(0), reading(0)], []) == StoredCounts(1, 1, 0)
    assert writer.store([reading(0)], []) == StoredCounts(0, 1, 0)
    assert Writer(writer_connection).store([reading(0)], []) == StoredCounts(0, 1, 0)
    assert count(owner, "telemetry_reading") == 1


def test_two_values_with_one_stamp_are_two_rows(writer_connection: psycopg.Connection) -> None:
    assert Writer(writer_connection).store([reading(0, "17"), reading(0, "18")], []).stored == 2


def test_the_revision_of_an_hour_grows_by_what_was_really_stored(
    writer_connection: psycopg.Connection, owner: psycopg.Connection
) -> None:
    writer = Writer(writer_connection)
    writer.store([reading(0), reading(3600), reading(3601)], [])
    writer.store([reading(0), reading(3602)], [])
    rows = owner.execute("SELECT hour, revision, readings FROM telemetry_revision ORDER BY hour")
    assert rows.fetchall() == [(NOON, 1, 1), (NOON + timedelta(hours=1), 3, 3)]


def test_a_channel_that_the_catalogue_does_not_know_is_stored_and_listed(
    writer_connection: psycopg.Connection, owner: psycopg.Connection
) -> None:
    writer = Writer(writer_connection)
    assert writer.store([reading(0, item="LUNA000001"), reading(0, item="LUNA000002")], []).stored == 2
    assert owner.execute(
        "SELECT channel_id, item_id, catalogued FROM telemetry_channel WHERE NOT catalogued ORDER BY 1"
    ).fetchall() == [(10001, "LUNA000001", False), (10002, "LUNA000002", False)]


def test_a_channel_of_a_batch_that_failed_is_registered_by_the_next(
    writer_connection: psycopg.Connection, owner: psycopg.Connection
) -> None:
    writer = Writer(writer_connection)
    broken = Rejection("X", {}, "bad\x00reason", NOON)
    with pytest.raises(psycopg.DataError):
        writer.store([reading(0, item="LUNA000001")], [broken])
    assert count(owner, "telemetry_reading") == 0
    assert writer.store([reading(0, item="LUNA000001")], []).stored == 1


def test_stamps_a_year_apart_need_two_chunks_not_a_year_of_them(
    writer_connection: psycopg.Connection, owner: psycopg.Connection
) -> None:
    Writer(writer_connection).store([reading(0), reading(-300 * 86_400)], [])
    assert owner.execute("SELECT count(*) FROM chunks_of('telemetry_reading')").fetchone() == (2,)


def test_a_chunk_that_retention_dropped_is_made_again(
    writer_connection: psycopg.Connection, owner: psycopg.Connection
) -> None:
    writer = Writer(writer_connection)
    writer.store([reading(0)], [])
    owner.execute("SELECT drop_old_telemetry(interval '1 day', %s)", (NOON + timedelta(days=20),))
    assert count(owner, "telemetry_reading") == 0
    assert writer.store([reading(0)], []).stored == 1


def test_listeners_are_told_of_new_readings_only(
    writer_connection: psycopg.Connection, owner: psycopg.Connection
) -> None:
    owner.execute("LISTEN telemetry_stored")
    writer = Writer(writer_connection)
    writer.store([reading(0)], [])
    assert len(list(owner.notifies(timeout=60, stop_after=1))) == 1
    writer.store([reading(0)], [rejection()])
    assert list(owner.notifies(timeout=0.2)) == []


def test_listeners_are_told_which_channels_are_new_and_when_these_are_too_many_to_tell_that_any_may_be(
    writer_connection: psycopg.Connection, owner: psycopg.Connection
) -> None:
    owner.execute("LISTEN telemetry_stored")
    writer = Writer(writer_connection)

    writer.store([reading(0, item="NODE3000005"), reading(1, item="NODE3000004")], [])
    (few,) = owner.notifies(timeout=5, stop_after=1)
    writer.store([reading(0, item=f"UNKNOWN{number}") for number in range(2000)], [])
    (many,) = owner.notifies(timeout=5, stop_after=1)

    known = owner.execute(
        "SELECT channel_id FROM telemetry_channel WHERE item_id IN ('NODE3000004', 'NODE3000005') ORDER BY 1"
    ).fetchall()
    assert few.payload == ",".join(str(channel) for (channel,) in known)
    assert many.payload == ""


def test_batches_inside_one_transaction_of_the_caller_do_not_count_each_other(
    writer_connection: psycopg.Connection,
) -> None:
    writer = Writer(writer_connection)
    with writer_connection.transaction():
        writer.store([reading(0)], [])
        assert writer.store([reading(1)], []) == StoredCounts(1, 0, 0)


def test_two_writers_of_the_same_readings_in_opposite_order_do_not_deadlock(ingest_url: str) -> None:
    readings = [reading(second, str(second % 7)) for second in range(20_000)]
    counts: list[StoredCounts] = []

    def store(batch: list[Reading]) -> None:
        with psycopg.connect(ingest_url) as own:
            writer = Writer(own)
            for start in range(0, len(batch), 2000):
                counts.append(writer.store(batch[start : start + 2000], []))

    threads = [threading.Thread(target=store, args=(batch,)) for batch in (readings, readings[::-1])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(c.stored for c in counts) == sum(c.duplicates for c in counts) == len(readings)


def test_a_hundred_thousand_readings_are_one_batch(writer_connection: psycopg.Connection) -> None:
    readings = [reading(second, str(second % 75)) for second in range(100_000)]
    assert Writer(writer_connection).store(readings, []) == StoredCounts(100_000, 0, 0)
