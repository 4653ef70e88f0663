from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

import psycopg
from psycopg.types.json import Jsonb

from ingest_daemon.reading import RawUpdate, Reading, parse
from ingest_daemon.writer import Writer
from iss_simulator.feed import timestamp_hours
from peebot_dagster.store import HEARTBEAT_LIMIT
from peebot_local.status import last_events, last_posts, read_status

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
HOME = "/somewhere"


def reading(ts: datetime, value: str = "42") -> Reading:
    update = RawUpdate("NODE3000005", timestamp_hours(ts), value, "24", "", None, value, False, NOW)
    parsed = parse(update)
    assert isinstance(parsed, Reading)
    return parsed


def add_link(connection: psycopg.Connection, source: str, state: str, seen: datetime) -> None:
    connection.execute(
        "INSERT INTO link_interval (source, state, started_at, last_seen_at) VALUES (%s, %s, %s, %s)",
        (source, state, seen - timedelta(hours=1), seen),
    )


def add_event(connection: psycopg.Connection, started_at: datetime, state: str) -> uuid.UUID:
    event_id = uuid.uuid4()
    connection.execute(
        "INSERT INTO detected_event (event_id, detector, detector_version, event_type, started_at, state,"
        " confidence, payload) VALUES (%s, 'urine_tank', '1', 'toilet_visit', %s, %s, 0.9, %s)",
        (event_id, started_at, state, Jsonb({"amount_percent": 3})),
    )
    return event_id


def test_an_empty_store_is_down_and_counts_nothing(connection: psycopg.Connection) -> None:
    status = read_status(connection, NOW, HOME)
    assert status.model_dump(exclude={"home"}) == {
        "feed": "DOWN",
        "readings": 0,
        "rejected": 0,
        "newest_age_s": None,
        "events": 0,
        "posts": 0,
        "store_edition": "postgresql",
        "ui_url": None,
        "live_url": None,
        "pid": None,
        "metrics_url": None,
        "spool_readings": None,
        "queue_depth": None,
        "spool_full": None,
        "muted": False,
        "muted_until": None,
    }


def test_the_promised_fields_tell_what_is_stored(connection: psycopg.Connection) -> None:
    Writer(connection).store([reading(NOW - timedelta(days=2)), reading(NOW - timedelta(seconds=7.5))], [])
    add_link(connection, "isslive", "LOS", NOW - timedelta(seconds=1))
    visit = add_event(connection, NOW - timedelta(minutes=5), "closed")
    retracted = add_event(connection, NOW - timedelta(minutes=9), "retracted")
    for event_id, state in ((visit, "dry_run"), (retracted, "skipped")):
        connection.execute(
            "INSERT INTO post (event_id, platform, state, text) VALUES (%s, 'dry_run', %s, 'ha')",
            (event_id, state),
        )
    status = read_status(connection, NOW, HOME, "http://127.0.0.1:3000", 7)
    assert status.feed == "LOS"
    assert (status.readings, status.events, status.posts) == (2, 1, 1)
    assert status.newest_age_s == 7.5
    assert [event.started_at for event in last_events(connection, 5)] == [NOW - timedelta(minutes=5)]
    assert [post.text for post in last_posts(connection, 5)] == ["ha"]


def test_a_daemon_that_gives_no_sign_counts_as_down(connection: psycopg.Connection) -> None:
    seen = NOW - timedelta(seconds=3)
    add_link(connection, "isslive", "LIVE", seen)
    assert read_status(connection, seen + HEARTBEAT_LIMIT, HOME).feed == "LIVE"
    assert read_status(connection, seen + HEARTBEAT_LIMIT + timedelta(seconds=1), HOME).feed == "DOWN"


def test_a_replay_is_not_the_feed(connection: psycopg.Connection) -> None:
    add_link(connection, "isslive", "DOWN", NOW)
    add_link(connection, "replay", "LIVE", NOW)
    assert read_status(connection, NOW, HOME).feed == "DOWN"


def test_the_newest_reading_is_found_among_replayed_old_ones(connection: psycopg.Connection) -> None:
    writer = Writer(connection)
    writer.store([reading(NOW - timedelta(seconds=3))], [])
    writer.store([reading(NOW - timedelta(days=90), "1")], [])
    assert read_status(connection, NOW, HOME).newest_age_s == 3.0
