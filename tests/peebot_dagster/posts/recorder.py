"""A platform that remembers what it was given, and what the ledger says."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import psycopg
from psycopg.rows import dict_row

from peebot_dagster.posts.outcomes import Message, PublishResult
from peebot_dagster.posts.policy import PostPolicy

POLICY = PostPolicy()
NO_COOLDOWN = PostPolicy(cooldown=timedelta(0))


class Recorder:
    """A platform that keeps the texts, and raises the outcomes that it is given first."""

    platform = "x"

    def __init__(self, *outcomes: BaseException) -> None:
        self.texts: list[str] = []
        self._outcomes = list(outcomes)

    def publish(self, message: Message) -> PublishResult:
        self.texts.append(message.text)
        if self._outcomes:
            raise self._outcomes.pop(0)
        return PublishResult(f"id-{len(self.texts)}", f"https://x.com/i/web/status/{len(self.texts)}")


class Killed(BaseException):
    """The process ends here."""


def ledger(connection: psycopg.Connection) -> list[dict[str, Any]]:
    with connection.transaction(), connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute("SELECT * FROM post ORDER BY created_at, event_id").fetchall()
