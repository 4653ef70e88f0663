from __future__ import annotations

from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from typer.testing import CliRunner

from peebot_local.alerting import lasting, send
from peebot_local.cli import app
from peebot_local.errors import MendableError
from peebot_local.secret_files import SECRETS
from tests.peebot_dagster.alerts.servers import PASSWORD, webhook_server


def test_a_test_message_reaches_each_destination() -> None:
    with webhook_server() as hook:
        assert send({"PEEBOT_ALERT_URLS": hook.url}) == ["1 json: took it"]
    assert [each["title"] for each in hook.received] == ["PeeBot: a test"]


def test_a_destination_that_takes_nothing_is_told_without_its_secret() -> None:
    with webhook_server() as hook, pytest.raises(MendableError, match="1 of 2 destinations") as failure:
        send({"PEEBOT_ALERT_URLS": f"{hook.url} nosuch://{PASSWORD}"})
    told = repr((failure.value, failure.value.details))
    assert "1 json: took it" in told
    assert "2 nosuch: is no URL" in told
    assert PASSWORD not in told


def test_a_sentence_of_ones_own_reaches_each_destination(monkeypatch: pytest.MonkeyPatch) -> None:
    with webhook_server() as hook:
        monkeypatch.setenv("PEEBOT_ALERT_URLS", hook.url)
        result = CliRunner().invoke(app, ["alert", "--tell", "the backup failed"])
    assert (result.exit_code, result.output) == (0, "1 json: took it\n")
    assert [each["title"] for each in hook.received] == ["PeeBot: the backup failed"]


def test_without_destinations_one_is_told_what_to_set() -> None:
    with pytest.raises(MendableError, match="PEEBOT_ALERT_URLS_FILE"):
        send({})
    assert "PEEBOT_ALERT_URLS" in SECRETS


def test_what_lasts_is_shown_with_who_could_not_be_told(
    connection: psycopg.Connection, database_url: str
) -> None:
    assert lasting(database_url) == ["Nothing is wrong."]
    began = datetime(2026, 3, 1, 12, tzinfo=UTC)
    for key, due, over in (
        ("a", began, None),
        ("b", began, began),
        ("c", datetime.now(UTC) + timedelta(days=1), None),
    ):
        connection.execute(
            "INSERT INTO alert_condition VALUES (%s, %s, '', '', %s, %s, %s)",
            (key, f"It is {key}", began, due, over),
        )
    connection.execute(
        "INSERT INTO alert_destination VALUES ('1 json #00ff', NULL, 2, now(), 'answered 500')"
    )
    connection.commit()
    assert lasting(database_url) == ["since 2026-03-01 12:00 UTC: It is a", "1 json answered 500"]
