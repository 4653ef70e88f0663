from __future__ import annotations

from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from psycopg.types.json import Jsonb
from rich.console import Console

from peebot_local.errors import MendableError
from peebot_local.retention import change_settings, settings_table
from peebot_local.status import read_status

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


def test_rejected_updates_go_as_the_setting_says_and_status_counts_those_that_are_left(
    connection: psycopg.Connection, database_url: str
) -> None:
    def rejected() -> int:
        return read_status(connection, TODAY, "/somewhere").rejected

    for days_ago, fields in ((0, {}), (9, {"suppressed": 900}), (10, {}), (11, {"count": 7}), (20, {})):
        connection.execute(
            "INSERT INTO rejected_reading (item_id, fields, reason, received_at) VALUES ('X', %s, 'y', %s)",
            (Jsonb(fields), TODAY - timedelta(days=days_ago)),
        )
    connection.commit()
    assert change_settings(database_url, {"minute_retention_days": 700}).dropped_rejections == 0
    assert rejected() == 1 + 900 + 1 + 7 + 1
    connection.commit()
    result = change_settings(database_url, {"rejected_retention_days": 10})
    assert (result.days["rejected_retention_days"], result.dropped_rejections) == (10, 2)
    assert rejected() == 1 + 900 + 1
    console = Console(width=120, record=True)
    console.print(settings_table(result))
    assert "2 rejected updates" in console.export_text()


def test_without_a_wish_nothing_changes_and_the_settings_are_shown(
    connection: psycopg.Connection, database_url: str
) -> None:
    store(connection, 100)
    result = change_settings(database_url, {})
    assert dict(result.days) == {
        "raw_retention_days": 30,
        "minute_retention_days": 730,
        "rejected_retention_days": 30,
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
