from __future__ import annotations

from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from rich.console import Console

from peebot_local.errors import MendableError
from peebot_local.retention import change_settings, settings_table

pytestmark = pytest.mark.every_edition

TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def store(connection: psycopg.Connection, days_ago: int) -> None:
    ts = TODAY - timedelta(days=days_ago)
    connection.execute("SELECT create_telemetry_chunks(%s, %s)", (ts, ts))
    connection.execute("INSERT INTO telemetry_reading VALUES (1, %s, %s, 1, '1', 24, false, 1)", (ts, ts))
    connection.commit()


def stored(connection: psycopg.Connection) -> list[int]:
    rows = connection.execute("SELECT ts FROM telemetry_reading ORDER BY ts DESC").fetchall()
    connection.commit()
    return [(TODAY - ts).days for (ts,) in rows]


def test_a_shorter_retention_drops_at_once_and_a_longer_one_keeps_from_now_on(
    connection: psycopg.Connection, database_url: str
) -> None:
    for days_ago in (0, 5, 12, 20):
        store(connection, days_ago)
    result = change_settings(database_url, {"raw_retention_days": 10})
    assert stored(connection) == [0, 5]
    assert (result.days["raw_retention_days"], result.dropped_days) == (10, 2)
    assert change_settings(database_url, {"raw_retention_days": 40}).dropped_days == 0
    store(connection, 20)
    assert change_settings(database_url, {"minute_retention_days": 50}).dropped_days == 0
    assert stored(connection) == [0, 5, 20]


def test_without_a_wish_nothing_changes_and_the_settings_are_shown(
    connection: psycopg.Connection, database_url: str
) -> None:
    store(connection, 100)
    result = change_settings(database_url, {})
    assert dict(result.days) == {
        "raw_retention_days": 30,
        "minute_retention_days": 730,
        "compress_after_days": 7,
    }
    assert stored(connection) == [100]
    console = Console(width=120, record=True)
    console.print(settings_table(result))
    assert "readings are kept" in console.export_text()


def test_when_a_reader_is_in_the_way_nothing_is_changed_and_the_user_is_told(
    connection: psycopg.Connection, database_url: str
) -> None:
    store(connection, 100)
    connection.execute("ALTER FUNCTION drop_chunk SET lock_timeout = '100ms'")
    connection.commit()
    connection.execute("SELECT count(*) FROM telemetry_reading")
    with pytest.raises(MendableError, match="try again"):
        change_settings(database_url, {"raw_retention_days": 10})
    connection.commit()
    assert change_settings(database_url, {}).days["raw_retention_days"] == 30
