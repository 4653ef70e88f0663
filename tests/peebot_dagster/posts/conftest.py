"""Platforms on loopback, events in the database, and facts to joke about."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from peebot_dagster.posts.outcomes import Image, Message
from peebot_dagster.posts.x_publisher import XCredentials, XPublisher
from tests.peebot_dagster.posts.platforms.bluesky import FakeBluesky
from tests.peebot_dagster.posts.platforms.loopback import Answer
from tests.peebot_dagster.posts.platforms.mastodon import FakeMastodon
from tests.peebot_dagster.posts.platforms.x import CREDENTIALS, FakeX, LoopbackAdapter

NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)


@pytest.fixture
def x_server() -> Iterator[FakeX]:
    fake = FakeX()
    with fake.serving():
        yield fake


@pytest.fixture
def bluesky_server() -> Iterator[FakeBluesky]:
    fake = FakeBluesky()
    with fake.serving():
        yield fake


@pytest.fixture
def mastodon_server() -> Iterator[FakeMastodon]:
    fake = FakeMastodon()
    with fake.serving():
        yield fake


@pytest.fixture
def message() -> Callable[..., Message]:
    """Makes a message about what happened at NOW."""

    def make(text: str = "Nominal.", key: str = "event-1", image: Image | None = None) -> Message:
        return Message(text, key, NOW, image)

    return make


@pytest.fixture
def credentials() -> dict[str, str]:
    return dict(CREDENTIALS)


@pytest.fixture
def x_answer() -> type[Answer]:
    return Answer


@pytest.fixture
def publisher_to() -> Callable[..., XPublisher]:
    """Makes the publisher for X whose requests arrive at a URL on loopback."""

    def make(url: str, read_seconds: float = 30, **changed: str) -> XPublisher:
        return XPublisher(
            XCredentials.model_validate({**CREDENTIALS, **changed}), LoopbackAdapter(url, read_seconds)
        )

    return make


@pytest.fixture
def now() -> datetime:
    return NOW


@pytest.fixture
def store_event(connection: psycopg.Connection) -> Callable[..., uuid.UUID]:
    """Stores an event that began `minutes_ago` before NOW and was detected half a minute later."""

    def store(
        minutes_ago: float = 1,
        state: str = "closed",
        confidence: float = 0.95,
        event_type: str = "toilet_visit",
        detected_after_s: float = 30,
        **payload: Any,
    ) -> uuid.UUID:
        event_id = uuid.uuid4()
        started_at = NOW - timedelta(minutes=minutes_ago)
        facts = {
            "amount_percent": 3,
            "amount_ml": 246,
            "level_before_percent": 40,
            "level_after_percent": 43,
            "upa_processing": False,
        }
        connection.execute(
            "INSERT INTO detected_event (event_id, detector, detector_version, event_type, started_at,"
            " ended_at, state, confidence, payload, detected_at)"
            " VALUES (%s, 'urine_tank', '1', %s, %s, %s, %s, %s, %s, %s)",
            [
                event_id,
                event_type,
                started_at,
                started_at + timedelta(seconds=12),
                state,
                confidence,
                Jsonb({**facts, **payload}),
                started_at + timedelta(seconds=detected_after_s),
            ],
        )
        connection.commit()
        return event_id

    return store
