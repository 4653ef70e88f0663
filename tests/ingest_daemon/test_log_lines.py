"""The log, for people and for machines, and what must never be in it."""

from __future__ import annotations

import ast
import json
import logging
import sys
from pathlib import Path
from typing import Any

import pytest

import ingest_daemon
from ingest_daemon.log_lines import JsonFormatter, TextFormatter, secrets_of

URL = "postgresql://peebot:p%40ss%2Fw\u00f6rd@127.0.0.1:5432/peebot"
SECRETS = secrets_of(URL, {"PGPASSWORD": "hunter2"})
FORMS = ["p@ss/w\u00f6rd", "p%40ss%2Fw%C3%B6rd", "p%40ss/w%C3%B6rd", "hunter2"]
LEVELS = {"debug", "info", "warning", "error", "exception", "critical"}


def record(message: str, *arguments: Any, exc_info: Any = None) -> logging.LogRecord:
    return logging.LogRecord("ingest_daemon", logging.INFO, __file__, 1, message, arguments, exc_info)


def test_a_json_line_holds_the_named_fields_of_its_event() -> None:
    fields = {"state": "LIVE", "count": 3, "quiet_s": 1.5, "why": None}
    line = JsonFormatter().format(record("link: %(state)s, %(count)d", fields))
    assert "\n" not in line
    entry = json.loads(line)
    assert entry["message"] == "link: LIVE, 3"
    assert entry["event"] == "link: %(state)s, %(count)d"
    assert {name: entry[name] for name in fields} == fields
    assert (entry["level"], entry["logger"]) == ("INFO", "ingest_daemon")


def test_a_field_does_not_replace_what_every_line_has() -> None:
    entry = json.loads(JsonFormatter().format(record("%(level)s", {"level": "odd"})))
    assert (entry["level"], entry["message"]) == ("INFO", "odd")


@pytest.mark.parametrize("formatter", [TextFormatter(SECRETS), JsonFormatter(SECRETS)])
@pytest.mark.parametrize("secret", FORMS)
def test_no_password_is_in_a_line_however_it_got_there(formatter: logging.Formatter, secret: str) -> None:
    try:
        raise ValueError(f"cannot connect with {secret}")
    except ValueError:
        line = formatter.format(record("at %(why)s", {"why": secret}, exc_info=sys.exc_info()))
    written = [line, line.encode().decode("unicode_escape")] if line.startswith("{") else [line]
    assert all(secret not in text for text in written)
    assert "***" in line


def test_a_json_line_with_a_traceback_is_one_line() -> None:
    try:
        raise ValueError("no")
    except ValueError:
        line = JsonFormatter().format(record("stopped", exc_info=sys.exc_info()))
    assert "\n" not in line
    assert "ValueError: no" in json.loads(line)["traceback"]


def test_every_event_that_the_daemon_logs_names_its_fields() -> None:
    nameless = [
        f"{file.name}:{call.lineno}"
        for file in Path(ingest_daemon.__file__).parent.glob("*.py")
        for call in ast.walk(ast.parse(file.read_text()))
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and call.func.attr in LEVELS
        and isinstance(call.func.value, ast.Name)
        and call.func.value.id == "logger"
        and len(call.args) > 1
        and not isinstance(call.args[1], ast.Dict)
    ]
    assert nameless == []
