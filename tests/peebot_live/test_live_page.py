"""The live page as a process, on a real database, as a member of peebot_reader and of nothing else."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
import requests

from peebot_live import station
from peebot_live.broadcast import Broadcast
from peebot_live.page import parts_of
from peebot_local.embedded_postgres import free_port

LEVEL = "NODE3000005"


@contextmanager
def serving(database_url: str, *options: str) -> Iterator[str]:
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "peebot_live", "--port", str(port), *options],
        env={**os.environ, "PEEBOT_DATABASE_URL": database_url},
    )
    url = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 30
    try:
        while not answers(url):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield url
    finally:
        process.terminate()
        assert process.wait(timeout=10) == 0


def answers(url: str) -> bool:
    try:
        return requests.get(f"{url}/healthz", timeout=5).status_code == 200
    except requests.ConnectionError:
        return False


@pytest.fixture
def live(login_as: Callable[[str], str]) -> Iterator[str]:
    with serving(login_as("peebot_reader")) as url:
        yield url


def parts(url: str) -> Iterator[dict[str, str]]:
    """What a browser is told, message by message."""
    with requests.get(f"{url}/events", stream=True, timeout=30) as response:
        for line in response.iter_lines(chunk_size=1, decode_unicode=True):
            if line.startswith("data: "):
                yield json.loads(line.removeprefix("data: "))


def next_with(messages: Iterator[dict[str, str]], part: str, words: str) -> str:
    return next(told[part] for told in messages if words in told.get(part, ""))


def store_level(connection: psycopg.Connection, value: float) -> None:
    """As the writer does it."""
    now = datetime.now(UTC)
    connection.execute("SELECT create_telemetry_chunks(%s, %s)", (now, now + timedelta(hours=1)))
    connection.execute(
        "INSERT INTO telemetry_reading SELECT channel_id, %s, %s, %s, '', 24, false, 1 FROM telemetry_channel"
        " WHERE item_id = %s",
        (now, now, value, LEVEL),
    )
    connection.execute(
        "SELECT pg_notify('telemetry_stored', channel_id::text) FROM telemetry_channel WHERE item_id = %s",
        (LEVEL,),
    )
    connection.commit()


def test_what_is_committed_is_told_without_being_asked_for(live: str, connection: psycopg.Connection) -> None:
    messages = parts(live)
    assert set(next(messages)) == {"link", "tank", "visit", "posts"}

    store_level(connection, 37.0)
    next_with(messages, "tank", '<span id="level">37</span> %')

    now, event = datetime.now(UTC), uuid.uuid4()
    connection.execute(
        "INSERT INTO link_interval (source, state, started_at, last_seen_at)"
        " VALUES ('isslive', 'LIVE', %s, %s)",
        (now, now + timedelta(minutes=1)),
    )
    connection.commit()
    next_with(messages, "link", "AOS")

    connection.execute(
        "INSERT INTO detected_event (event_id, detector, detector_version, event_type, started_at, state,"
        " confidence, payload) VALUES (%s, 'urine_tank', '2', 'toilet_visit', %s, 'open', 0.9, %s)",
        (event, now, json.dumps({"amount_percent": 3, "amount_ml": 246})),
    )
    connection.commit()
    assert "1 today" in next_with(messages, "visit", "about 246 mL")

    connection.execute(
        "INSERT INTO post (event_id, platform, state, text)"
        " VALUES (%s, 'dry_run', 'dry_run', 'A <b>joke</b>')",
        (event,),
    )
    connection.commit()
    next_with(messages, "posts", "A &lt;b&gt;joke&lt;/b&gt;")
    assert "A &lt;b&gt;joke&lt;/b&gt;" in requests.get(live, timeout=5).text


def test_the_page_needs_nothing_from_elsewhere_and_changes_nothing(live: str) -> None:
    page = requests.get(live, timeout=5)
    assert "default-src 'none'; script-src 'self'" in page.headers["Content-Security-Policy"]
    assert "http" not in page.text.replace("http-equiv", "")
    for name in ("live.css", "live.js"):
        assert requests.get(f"{live}/{name}", timeout=5).ok
    assert requests.head(live, timeout=5).ok
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert requests.request(method, live, timeout=5).status_code == 405
    assert requests.get(f"{live}/../pyproject.toml", timeout=5).status_code == 404


@pytest.mark.slow
def test_while_the_database_is_away_the_page_says_so_and_comes_back_by_itself(
    live: str, database_url: str, store_server: object
) -> None:
    name = psycopg.conninfo.conninfo_to_dict(database_url)["dbname"]
    messages = parts(live)
    with psycopg.connect(
        psycopg.conninfo.make_conninfo(database_url, dbname="postgres"), autocommit=True
    ) as admin:
        admin.execute(
            psycopg.sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(
                psycopg.sql.Identifier(str(name))
            )
        )
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
        next_with(messages, "link", "The database does not answer")
        assert requests.get(f"{live}/healthz", timeout=5).status_code == 503
        admin.execute(
            psycopg.sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(
                psycopg.sql.Identifier(str(name))
            )
        )
    next_with(messages, "link", "DOWN")
    assert answers(live)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--host", "192.0.2.1"], "more than this machine; give --exposed"),
        (["--host", "192.0.2.1", "--exposed"], "cannot be served"),
    ],
)
def test_what_can_not_be_served_is_one_line(options: list[str], why: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-P", "-m", "peebot_live", *options],
        env={**os.environ, "PEEBOT_DATABASE_URL": "postgresql://127.0.0.1:1/peebot"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1].startswith("peebot live: ")
    assert why in ended.stderr


def test_a_notification_wakes_and_not_the_clock(
    login_as: Callable[[str], str], connection: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(station, "AT_LEAST_EVERY", timedelta(hours=1))
    broadcast = Broadcast(parts_of(None))
    watched = station.Station(login_as("peebot_reader"), LEVEL, broadcast, lambda: datetime.now(UTC))

    async def next_telling(viewer: asyncio.Queue[Any], words: str) -> None:
        while words not in str(await viewer.get()):
            pass

    async def watch() -> None:
        with broadcast.viewer() as viewer:
            task = asyncio.create_task(watched.watch())
            async with asyncio.timeout(60):
                await next_telling(viewer, "DOWN: nothing comes in")
                store_level(connection, 37.0)
                await next_telling(viewer, '<span id="level">37</span>')
                connection.execute("INSERT INTO posting_mute (muted_at) VALUES (now())")
                connection.commit()
                await next_telling(viewer, "Muted: nothing is posted")
            task.cancel()

    asyncio.run(watch())
