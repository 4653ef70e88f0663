"""A process that publishes is killed with SIGKILL at every point: nothing is ever sent twice."""

from __future__ import annotations

import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import psycopg

from peebot_dagster.posts.outbox import publish_new_events
from peebot_dagster.posts.policy import PostPolicy
from peebot_dagster.posts.x_publisher import XPublisher
from tests.peebot_dagster.posts.platforms.x import FakeX

PROJECT = Path(__file__).parents[3]


def test_a_kill_at_any_point_leaves_nothing_sent_or_a_post_that_is_never_sent_again(
    database_url: str,
    connection: psycopg.Connection,
    store_event: Callable[..., uuid.UUID],
    now: datetime,
    x_server: FakeX,
    publisher_to: Callable[[str], XPublisher],
) -> None:
    command = [sys.executable, "-m", "tests.peebot_dagster.posts.crash_points"]
    killed: list[str] = []
    ends: Counter[tuple[str | None, int, str]] = Counter()
    with subprocess.Popen(
        [*command, database_url, x_server.url, now.isoformat()],
        cwd=PROJECT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        while True:
            _forget_everything(connection)
            x_server.texts.clear()
            before = x_server.requests
            event_id = store_event()
            process.stdin.write(f"{len(killed) + 1}\n")
            process.stdin.flush()
            where = process.stdout.readline().strip()
            _until_nobody_else_is_connected(connection)
            left, sent = _state(connection, event_id), x_server.requests - before
            for minutes_later in (0, 6, 60):
                moment = now + timedelta(minutes=minutes_later)
                publish_new_events(
                    connection, publisher_to(x_server.url), PostPolicy(), lambda moment=moment: moment
                )
            end = _state(connection, event_id)
            assert end is not None
            sent_in_all = x_server.requests - before

            if left is None:
                assert (sent, sent_in_all, end) == (0, 1, "sent"), where
            elif left == "claimed":
                assert (sent_in_all, end) == (sent, "unknown"), where
            else:
                assert (left, end, sent, sent_in_all) == ("sent", "sent", 1, 1), where
            ends[left, sent_in_all, end] += 1
            if where == "finished":
                break
            killed.append(where)
        process.stdin.close()
    assert {*killed} == {f"{when} {what}" for when in ("before", "after") for what in _POINTS}
    assert {*ends} == {
        (None, 1, "sent"),
        ("claimed", 0, "unknown"),
        ("claimed", 1, "unknown"),
        ("sent", 1, "sent"),
    }


_POINTS = ("statement", "commit", "request")


def _forget_everything(connection: psycopg.Connection) -> None:
    connection.execute("TRUNCATE post, detected_event")
    connection.commit()


def _until_nobody_else_is_connected(connection: psycopg.Connection) -> None:
    """The server notices the death of its client, and rolls back, a moment later."""
    others = (
        "SELECT FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        " AND backend_type = 'client backend'"
    )
    while connection.execute(others).fetchall():
        connection.rollback()
    connection.rollback()


def _state(connection: psycopg.Connection, event_id: uuid.UUID) -> str | None:
    with connection.transaction():
        row = connection.execute("SELECT state FROM post WHERE event_id = %s", [event_id]).fetchone()
    return None if row is None else str(row[0])
