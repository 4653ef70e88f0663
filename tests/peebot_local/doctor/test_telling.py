"""Who is told what the doctor finds, and how often."""

from __future__ import annotations

import errno
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from peebot_local.cli import app
from peebot_local.commands.doctoring import FAILING_AND_TOLD
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


def test_a_memory_that_is_roots_is_replaced_and_nothing_is_told_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory, link = tmp_path / "told.json", tmp_path / "told.new"
    memory.write_text(Told(at=NOW).model_dump_json())
    (tmp_path / "others").write_text("untouched")
    link.symlink_to(tmp_path / "others")
    opened = Path.open

    def open_as_another(path: Path, mode: str = "r", *more: Any, **options: Any) -> Any:
        if path == memory and set(mode) & set("wax+"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return opened(path, mode, *more, **options)

    monkeypatch.setattr(Path, "open", open_as_another)
    with webhook_server() as hook:
        for _ in range(2):
            tell([DEAD], memory, {"PEEBOT_ALERT_URLS": hook.url}, NOW)
    assert len(hook.received) == 1
    assert (tmp_path / "others").read_text() == "untouched"


def test_a_memory_that_cannot_be_read_keeps_nobody_from_being_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "read_text", refuse)
    with webhook_server() as hook:
        tell([DEAD], tmp_path / "told.json", {"PEEBOT_ALERT_URLS": hook.url}, NOW)
    assert len(hook.received) == 1


def test_the_doctors_own_fault_is_told_apart_from_what_it_finds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PEEBOT_HOME", str(tmp_path))
    monkeypatch.setenv("PEEBOT_DATABASE_URL", "postgresql://peebot:s3cret@127.0.0.1:1/peebot")
    monkeypatch.setenv("PEEBOT_METRICS_PORT", "1")
    # Where its memory is written first.
    (tmp_path / "doctor" / "told.new").mkdir(parents=True)
    with webhook_server() as hook:
        monkeypatch.setenv("PEEBOT_ALERT_URLS", hook.url)
        assert CliRunner().invoke(app, ["doctor", "--alert"]).exit_code == 1
    assert hook.received
    unit = Path(__file__).parents[3] / "deploy" / "systemd" / "peebot-doctor.service"
    assert f"\nSuccessExitStatus={FAILING_AND_TOLD}\n" in unit.read_text("utf-8")


def test_the_command_tells_that_the_database_is_away_and_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PEEBOT_HOME", str(tmp_path))
    monkeypatch.setenv("PEEBOT_DATABASE_URL", "postgresql://peebot:s3cret@127.0.0.1:1/peebot")
    monkeypatch.setenv("PEEBOT_METRICS_PORT", "1")
    with webhook_server() as hook:
        monkeypatch.setenv("PEEBOT_ALERT_URLS", hook.url)
        codes = [CliRunner().invoke(app, ["doctor", "--alert"]).exit_code for _ in range(2)]
    assert codes == [FAILING_AND_TOLD] * 2
    (message,) = hook.received
    assert "database" in message["title"]
    assert "s3cret" not in str(message)
