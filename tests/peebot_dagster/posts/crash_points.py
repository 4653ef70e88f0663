"""Publishes as a run does, in a process of its own that kills itself with SIGKILL at the N-th point.

Reads N from standard input, forks a process that publishes once, and writes where that was killed, or
`finished`. A point lies before and after each statement, the end of each transaction, and each HTTP request.
Arguments: DATABASE_URL SERVER_URL NOW.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from datetime import datetime
from typing import Any

import psycopg
from psycopg.transaction import Transaction

from peebot_dagster.posts.jokes import load_jokes
from peebot_dagster.posts.outbox import publish_new_events
from peebot_dagster.posts.policy import PostPolicy
from peebot_dagster.posts.x_publisher import XCredentials, XPublisher
from tests.peebot_dagster.posts.platforms.x import CREDENTIALS, LoopbackAdapter


def publish_until(point: int, database_url: str, server_url: str, now: datetime) -> None:
    passed = 0

    def pass_point(name: str) -> None:
        nonlocal passed
        passed += 1
        if passed == point:
            os.write(1, f"{name}\n".encode())
            os.kill(os.getpid(), signal.SIGKILL)

    def watched(what: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            pass_point(f"before {what}")
            result = function(*args, **kwargs)
            pass_point(f"after {what}")
            return result

        return call

    psycopg.Cursor.execute = watched("statement", psycopg.Cursor.execute)  # type: ignore[method-assign]
    Transaction.__exit__ = watched("commit", Transaction.__exit__)  # type: ignore[method-assign]
    LoopbackAdapter.send = watched("request", LoopbackAdapter.send)  # type: ignore[method-assign]
    publisher = XPublisher(XCredentials.model_validate(CREDENTIALS), LoopbackAdapter(server_url, 30))
    with psycopg.connect(database_url) as connection:
        publish_new_events(connection, publisher, PostPolicy(), lambda: now)


def main() -> None:
    database_url, server_url, now = sys.argv[1:]
    load_jokes()
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            try:
                publish_until(int(line), database_url, server_url, datetime.fromisoformat(now))
                os.write(1, b"finished\n")
            finally:
                os._exit(0)
        os.waitpid(child, 0)


if __name__ == "__main__":
    main()
