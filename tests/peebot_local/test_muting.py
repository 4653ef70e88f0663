from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from rich.console import Console

from peebot_local.display import status_table
from peebot_local.muting import silence, span, speak
from peebot_local.status import read_status

NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("30m", timedelta(minutes=30)),
        (" 2H ", timedelta(hours=2)),
        ("1d12h", timedelta(hours=36)),
        ("1 h 5 m", timedelta(minutes=65)),
    ],
)
def test_a_span_is_read_as_people_write_it(text: str, length: timedelta) -> None:
    assert span(text) == length


@pytest.mark.parametrize("text", ["", "2", "2x", "h2", "2h!", "-2h", "0m", "400d", "999999999h"])
def test_what_is_no_span_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"as in 30m|between a minute and"):
        span(text)


def test_status_tells_that_it_is_muted_and_until_when(
    connection: psycopg.Connection, database_url: str
) -> None:
    def shown(now: datetime) -> tuple[bool, datetime | None, str]:
        status = read_status(connection, now, "/nowhere")
        connection.rollback()
        console = Console(width=120, record=True, file=io.StringIO())
        console.print(status_table(status))
        return status.muted, status.muted_until, console.export_text()

    assert shown(NOW)[:2] == (False, None)
    assert "until 2026-11-24 11:00 UTC" in silence(database_url, NOW, timedelta(hours=2))
    muted, until, text = shown(NOW)
    assert (muted, until) == (True, NOW + timedelta(hours=2))
    assert "muted until 2026-11-24 11:00 UTC" in text
    assert shown(NOW + timedelta(hours=2))[:2] == (False, None)
    assert "until ./peebot unmute" in silence(database_url, NOW, None)
    assert shown(NOW)[:2] == (True, None)
    assert "goes on" in speak(database_url)
    assert shown(NOW)[:2] == (False, None)
    assert "not muted" in speak(database_url)
