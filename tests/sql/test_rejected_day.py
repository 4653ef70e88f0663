"""The count of rejected updates is right in each transaction, whatever becomes of the rows."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.types.json import Jsonb

from peebot_dagster.housekeeping import Maintenance, maintain_store

pytestmark = pytest.mark.every_edition(one_connection=True)

DAY = timedelta(days=1)
NOON = datetime(2025, 3, 10, 12, tzinfo=UTC)
NUMBERS = st.one_of(
    st.integers(-5, 10**30), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=3)
)
FIELDS = st.dictionaries(st.sampled_from(["count", "suppressed", "Value"]), NUMBERS, max_size=3).map(
    lambda fields: {key: v.replace("\0", "") if isinstance(v, str) else v for key, v in fields.items()}
)
HALF_DAYS = st.integers(0, 5)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("insert"), st.lists(st.tuples(HALF_DAYS, FIELDS), min_size=3, max_size=9)),
        st.tuples(st.just("drop"), HALF_DAYS),
        st.tuples(st.just("delete"), HALF_DAYS),
        st.tuples(st.just("truncate"), st.just(0)),
    ),
    max_size=6,
)


def reject(connection: psycopg.Connection, moments: list[tuple[datetime, Mapping[str, Any]]]) -> None:
    connection.execute(
        "INSERT INTO rejected_reading (item_id, fields, reason, received_at)"
        " SELECT 'X', f, 'y', at FROM unnest(%s::jsonb[], %s::timestamptz[]) AS new (f, at)",
        ([Jsonb(fields) for _, fields in moments], [moment for moment, _ in moments]),
    )


def counted(connection: psycopg.Connection) -> list[tuple[datetime, int, int]]:
    return connection.execute("SELECT day, stored, updates FROM rejected_day ORDER BY day").fetchall()


def updates_of(fields: Mapping[str, Any]) -> int:
    """The slow and obvious way."""
    numbers = [fields[key] for key in ("count", "suppressed") if isinstance(fields.get(key), int | float)]
    return min(max([1, *numbers]), 10**12)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=80, deadline=None)
@given(steps=STEPS)
def test_the_count_is_that_of_the_rows_that_are_there(connection: psycopg.Connection, steps: Any) -> None:
    expected: list[tuple[datetime, Mapping[str, Any]]] = []
    with connection.transaction(force_rollback=True):
        for what, argument in steps:
            if what == "insert":
                new = [(NOON + half_days * DAY / 2, fields) for half_days, fields in argument]
                reject(connection, new)
                expected += new
            elif what == "drop":
                as_of = NOON + argument * DAY / 2
                connection.execute("SELECT drop_old_rejections('1 day', %s)", (as_of,))
                kept_from = as_of.replace(hour=0) - DAY
                expected = [(moment, fields) for moment, fields in expected if moment >= kept_from]
            elif what == "delete":
                # Somebody tidies up by hand.
                gone = NOON + argument * DAY / 2
                connection.execute("DELETE FROM rejected_reading WHERE received_at = %s", (gone,))
                expected = [(moment, fields) for moment, fields in expected if moment != gone]
            else:
                connection.execute("TRUNCATE rejected_reading")
                expected = []
        found = counted(connection)
    by_day: dict[datetime, list[Mapping[str, Any]]] = {}
    for moment, fields in sorted(expected, key=lambda one: one[0]):
        by_day.setdefault(moment.replace(hour=0), []).append(fields)
    assert [(day, stored) for day, stored, _ in found] == [(day, len(rows)) for day, rows in by_day.items()]
    for (_, _, updates), rows in zip(found, by_day.values(), strict=True):
        # SQL rounds each to a whole number.
        assert updates == pytest.approx(sum(map(updates_of, rows)), abs=len(rows))


def test_days_are_those_of_utc_and_a_transaction_that_fails_counts_nothing(
    connection: psycopg.Connection,
) -> None:
    connection.execute("SET timezone = 'Pacific/Auckland'")
    midnight = NOON + DAY / 2
    reject(
        connection, [(midnight - timedelta(microseconds=1), {}), (midnight, {"suppressed": 40, "count": 90})]
    )
    before = counted(connection)
    assert before == [(midnight - DAY, 1, 1), (midnight, 1, 90)]
    with connection.transaction(force_rollback=True):
        reject(connection, [(midnight, {})])
        assert counted(connection) != before
    assert counted(connection) == before
    assert connection.execute("SELECT drop_old_rejections('1 day', %s)", (midnight + DAY,)).fetchone() == (1,)
    assert counted(connection) == before[1:]


@pytest.mark.several_connections
def test_retention_makes_nobody_wait_who_stores_a_rejection(database_url: str) -> None:
    with (
        psycopg.connect(database_url) as retention,
        psycopg.connect(database_url, options="-c lock_timeout=10s") as daemon,
    ):
        reject(retention, [(NOON, {}), (NOON + 40 * DAY, {})])
        retention.commit()
        assert retention.execute(
            "SELECT rejections_dropped FROM maintain_store(%s)", (NOON + 40 * DAY,)
        ).fetchone() == (1,)
        reject(daemon, [(NOON + 40 * DAY, {})])
        daemon.commit()
        retention.commit()
        assert counted(daemon) == [((NOON + 40 * DAY).replace(hour=0), 2, 2)]


@pytest.mark.several_connections
def test_rejections_are_gone_before_anybody_could_have_to_wait_for_the_readings(database_url: str) -> None:
    with psycopg.connect(database_url) as retention, psycopg.connect(database_url) as reader:
        reject(retention, [(NOON, {})])
        retention.execute("SELECT create_telemetry_chunks(%s, %s)", (NOON, NOON))
        retention.execute(
            "INSERT INTO telemetry_reading VALUES (1, %s, %s, 1, '1', 24, false, 1)", (NOON, NOON)
        )
        retention.execute("ALTER FUNCTION drop_chunk SET lock_timeout = '100ms'")
        retention.commit()
        reader.execute("SELECT count(*) FROM telemetry_reading")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            maintain_store(retention)
        assert counted(retention) == []
        retention.commit()
        reader.commit()
        assert maintain_store(retention) == Maintenance(1, 0, 0)
