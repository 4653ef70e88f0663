"""Who is told what the doctor finds, and how often."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from peebot_local.cli import app
from peebot_local.doctor.finding import fail, ok, warn
from peebot_local.doctor.telling import AGAIN, Told, news_of, tell
from tests.peebot_dagster.alerts.servers import webhook_server

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
DEAD = fail("dagster_daemon", "no sign of life for 9 min", "start it")
FULL = fail("disk", "3 MB are free", "free some")
TOLD = Told(checks=frozenset({"dagster_daemon"}), at=NOW)


def test_what_fails_is_told_once_and_again_each_day() -> None:
    first = news_of([DEAD, warn("runs", "a run waits", "look"), ok("home", "fine")], None, NOW)
    assert first is not None
    assert first.title == "PeeBot's doctor: dagster_daemon"
    assert first.body == "dagster_daemon: no sign of life for 9 min\nstart it"
    assert news_of([DEAD], TOLD, NOW + timedelta(minutes=30)) is None
    assert news_of([DEAD], TOLD, NOW + AGAIN) is not None


def test_what_fails_besides_is_told_at_once_and_so_is_the_end() -> None:
    more = news_of([DEAD, FULL], TOLD, NOW)
    assert more is not None
    assert more.title.endswith("dagster_daemon, disk")
    over = news_of([ok("dagster_daemon", "alive")], TOLD, NOW)
    assert over is not None
    assert over.good
    assert news_of([ok("dagster_daemon", "alive")], Told(at=NOW), NOW) is None
    assert news_of([ok("dagster_daemon", "alive")], None, NOW) is None


def test_what_nobody_took_is_told_the_next_time(tmp_path: Path) -> None:
    memory = tmp_path / "doctor" / "told.json"
    with webhook_server() as hook:
        tell([DEAD], memory, {"PEEBOT_ALERT_URLS": "nosuch://x"}, NOW)
        for minutes in (30, 60):
            there = {"PEEBOT_ALERT_URLS": hook.url}
            tell([DEAD], memory, there, NOW + timedelta(minutes=minutes))
    assert len(hook.received) == 1


def test_the_command_tells_that_the_database_is_away_and_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PEEBOT_HOME", str(tmp_path))
    monkeypatch.setenv("PEEBOT_DATABASE_URL", "postgresql://peebot:s3cret@127.0.0.1:1/peebot")
    monkeypatch.setenv("PEEBOT_METRICS_PORT", "1")
    with webhook_server() as hook:
        monkeypatch.setenv("PEEBOT_ALERT_URLS", hook.url)
        codes = [CliRunner().invoke(app, ["doctor", "--alert"]).exit_code for _ in range(2)]
    assert codes == [1, 1]
    (message,) = hook.received
    assert "database" in message["title"]
    assert "s3cret" not in str(message)
