"""Secrets by file, as container engines and systemd give them: X_FILE is the path of the file with X."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from peebot_local.errors import MendableError

SECRETS = (
    "PEEBOT_DATABASE_URL",
    "PEEBOT_INGEST_URL",
    "PEEBOT_DAGSTER_URL",
    "PEEBOT_DAGSTER_READER_URL",
    "PEEBOT_READER_URL",
    "PEEBOT_CELERY_BROKER",
    "PEEBOT_X_CONSUMER_KEY",
    "PEEBOT_X_CONSUMER_SECRET",
    "PEEBOT_X_ACCESS_TOKEN",
    "PEEBOT_X_ACCESS_TOKEN_SECRET",
    "PEEBOT_BLUESKY_HANDLE",
    "PEEBOT_BLUESKY_APP_PASSWORD",
    "PEEBOT_MASTODON_ACCESS_TOKEN",
    "PEEBOT_ALERT_URLS",
)


def secrets_of_files(environment: Mapping[str, str]) -> dict[str, str]:
    """The secrets whose files `environment` names, under the names of their settings.

    MendableError when one is given twice, or its file can't be read or is empty; it never tells a content.
    """
    found = {}
    for name in SECRETS:
        path = environment.get(f"{name}_FILE")
        if not path:
            continue
        if environment.get(name):
            raise MendableError(f"{name} and {name}_FILE are both set; unset one")
        try:
            secret = Path(path).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no text"
            raise MendableError(f"{name}_FILE: {path} cannot be read ({reason}); mend that") from None
        if not secret:
            raise MendableError(f"{name}_FILE: {path} is empty; write the secret into it")
        found[name] = secret
    return found
