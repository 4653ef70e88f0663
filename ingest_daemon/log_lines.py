"""How the log looks: one line an event, for people or for machines, and never a password in it.

Events carry named fields: `logger.info("link: %(state)s since %(since)s", {"state": …, "since": …})`.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Literal
from urllib.parse import quote

from psycopg.conninfo import conninfo_to_dict

LogFormat = Literal["text", "json"]
HIDDEN = "***"


def log_to_stderr(log_format: LogFormat, secrets: Iterable[str]) -> None:
    """Send the log of the whole process to stderr, without these secrets."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter((JsonFormatter if log_format == "json" else TextFormatter)(secrets))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)


def secrets_of(database_url: str, environment: Mapping[str, str]) -> set[str]:
    """What must not be told of how the database is reached, however it is written."""
    parts = conninfo_to_dict(database_url)
    secrets = {str(parts.get(name) or "") for name in ("password", "sslpassword")}
    secrets.add(environment.get("PGPASSWORD", ""))
    return {form for secret in secrets if secret for form in (secret, quote(secret), quote(secret, safe=""))}


class TextFormatter(logging.Formatter):
    """A line for people; of an exception the traceback follows."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")
        self._hide = _Hider(secrets)

    def format(self, record: logging.LogRecord) -> str:
        return self._hide(super().format(record))


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (UTC), level, logger, message, event (one text for each kind), fields."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        super().__init__()
        self._hide = _Hider(secrets)

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": self._hide(record.getMessage()),
            "event": self._hide(str(record.msg)),
        }
        if isinstance(record.args, Mapping):
            for name, value in record.args.items():
                is_plain = value is None or isinstance(value, bool | int | float)
                entry.setdefault(name, value if is_plain else self._hide(str(value)))
        if record.exc_info:
            entry["traceback"] = self._hide(self.formatException(record.exc_info))
        return json.dumps(entry)


class _Hider:
    def __init__(self, secrets: Iterable[str]) -> None:
        # The longest first: one may be a part of another.
        self._secrets = sorted(filter(None, secrets), key=len, reverse=True)

    def __call__(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, HIDDEN)
        return text
