"""A server on loopback that answers like X, events in the database, and facts to joke about."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import psycopg
import pytest
import requests
from oauthlib.oauth1 import RequestValidator, ResourceEndpoint
from psycopg.types.json import Jsonb

from peebot_dagster.posts.publishers import XCredentials
from peebot_dagster.posts.x_publisher import X_API, TimeoutAdapter, XPublisher

NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)

CREDENTIALS = {
    "consumer_key": "consumer-key-5f1c0a2b",
    "consumer_secret": "consumer-secret-81d2c3",
    "access_token": "1234-access-token-77aa",
    "access_token_secret": "access-token-secret-9e9e",
}


class _KnownUser(RequestValidator):
    """Verifies OAuth 1.0a signatures of the one known user, as X does."""

    enforce_ssl = True
    client_key_length = access_token_length = nonce_length = (1, 100)
    dummy_client = dummy_access_token = "nobody"
    safe_characters = property(lambda self: {chr(code) for code in range(33, 127)})

    def validate_client_key(self, client_key: str, request: Any) -> bool:
        return client_key == CREDENTIALS["consumer_key"]

    def validate_access_token(self, client_key: str, token: str, request: Any) -> bool:
        return token == CREDENTIALS["access_token"]

    def validate_timestamp_and_nonce(self, *args: Any, **kwargs: Any) -> bool:
        return True

    def get_client_secret(self, client_key: str, request: Any) -> str:
        return CREDENTIALS["consumer_secret"]

    def get_access_token_secret(self, client_key: str, token: str, request: Any) -> str:
        return CREDENTIALS["access_token_secret"]

    def validate_realms(self, *args: Any, **kwargs: Any) -> bool:
        return True


@dataclass
class Answer:
    """What the server does with one request: an answer, or `drop` the connection, or `hold` it unanswered."""

    status: int = 201
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    drop: bool = False
    hold: bool = False


class FakeX:
    """Takes posts at /2/tweets whose signature is right and whose text is new; `answers` come before that."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.answers: list[Answer] = []
        self.requests = 0
        self.released = threading.Event()
        self._endpoint = ResourceEndpoint(_KnownUser())
        self._lock = threading.Lock()
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                answer = fake.answer(self.path, dict(self.headers), body)
                if answer.hold:
                    fake.released.wait(30)
                if answer.drop or answer.hold:
                    self.close_connection = True
                    return
                content = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
                self.send_response(answer.status)
                for name, value in {"Content-Type": "application/json", **answer.headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def answer(self, path: str, headers: dict[str, str], body: bytes) -> Answer:
        with self._lock:
            self.requests += 1
            if self.answers:
                return self.answers.pop(0)
            valid, _ = self._endpoint.validate_protected_resource_request(
                X_API + path, "POST", None, {"Authorization": headers.get("Authorization", "")}
            )
            if not valid:
                return Answer(401, {"title": "Unauthorized", "detail": "Unauthorized", "status": 401})
            text = json.loads(body)["text"]
            if text in self.texts:
                detail = "You are not allowed to create a Tweet with duplicate content."
                return Answer(403, {"title": "Forbidden", "detail": detail, "status": 403})
            self.texts.append(text)
            return Answer(201, {"data": {"id": str(10**18 + len(self.texts)), "text": text}})


class LoopbackAdapter(TimeoutAdapter):
    """Carries what is meant for X to the server on loopback; tweepy itself is as installed."""

    def __init__(self, url: str, read_seconds: float = 5) -> None:
        super().__init__(connect_seconds=2, read_seconds=read_seconds)
        self._url = url

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        assert request.url is not None
        request.url = request.url.replace(X_API, self._url)
        return super().send(request, *args, **{**kwargs, "proxies": {}})


@pytest.fixture
def x_server() -> Iterator[FakeX]:
    fake = FakeX()
    thread = threading.Thread(target=fake.server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield fake
    fake.released.set()
    fake.server.shutdown()
    thread.join()
    fake.server.server_close()


@pytest.fixture
def credentials() -> dict[str, str]:
    return dict(CREDENTIALS)


@pytest.fixture
def x_answer() -> type[Answer]:
    return Answer


@pytest.fixture
def publisher_to() -> Callable[..., XPublisher]:
    """Makes the publisher for X whose requests arrive at a URL on loopback."""

    def make(url: str, read_seconds: float = 5, **changed: str) -> XPublisher:
        return XPublisher(
            XCredentials.model_validate({**CREDENTIALS, **changed}), LoopbackAdapter(url, read_seconds)
        )

    return make


@pytest.fixture
def now() -> datetime:
    return NOW


@pytest.fixture
def store_event(connection: psycopg.Connection) -> Callable[..., uuid.UUID]:
    """Stores an event that began `minutes_ago` before NOW."""

    def store(
        minutes_ago: float = 1,
        state: str = "closed",
        confidence: float = 0.95,
        event_type: str = "toilet_visit",
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
            " ended_at, state, confidence, payload) VALUES (%s, 'urine_tank', '1', %s, %s, %s, %s, %s, %s)",
            [
                event_id,
                event_type,
                started_at,
                started_at + timedelta(seconds=12),
                state,
                confidence,
                Jsonb({**facts, **payload}),
            ],
        )
        connection.commit()
        return event_id

    return store
