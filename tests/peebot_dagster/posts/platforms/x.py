"""X on loopback, and the way to it for a tweepy that is as installed."""

from __future__ import annotations

import base64
from typing import Any

import requests
from oauthlib.oauth1 import RequestValidator, ResourceEndpoint

from peebot_dagster.posts.x_publisher import X_API, TimeoutAdapter
from tests.peebot_dagster.posts.platforms.loopback import Answer, LoopbackPlatform, Request

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


class FakeX(LoopbackPlatform):
    """Takes posts at /2/tweets whose signature is right and whose text is new, and pictures for them.

    `shown` has the pictures of each post.
    """

    def __init__(self) -> None:
        super().__init__()
        self.alt_texts: list[str] = []
        self.shown: list[list[str]] = []
        self.upload_status = 200
        self._endpoint = ResourceEndpoint(_KnownUser())

    def is_post(self, request: Request) -> bool:
        return request.method == "POST" and request.path == "/2/tweets"

    def respond(self, request: Request) -> Answer:
        valid, _ = self._endpoint.validate_protected_resource_request(
            X_API + request.path,
            request.method,
            None,
            {"Authorization": request.headers.get("authorization", "")},
        )
        if not valid:
            return Answer(401, {"title": "Unauthorized", "detail": "Unauthorized", "status": 401})
        if request.path.startswith("/2/media/"):
            return self._upload(request.path, request.json())
        text = request.json()["text"]
        if text in self.texts:
            detail = "You are not allowed to create a Tweet with duplicate content."
            return Answer(403, {"title": "Forbidden", "detail": detail, "status": 403})
        self.texts.append(text)
        self.shown.append(request.json().get("media", {}).get("media_ids", []))
        return Answer(201, {"data": {"id": str(10**18 + len(self.texts)), "text": text}})

    def _upload(self, path: str, body: Any) -> Answer:
        if self.upload_status != 200:
            return Answer(self.upload_status, {"title": "No"})
        if path == "/2/media/metadata":
            self.alt_texts.append(body["metadata"]["alt_text"]["text"])
        else:
            self.images.append(base64.b64decode(body["media"]))
        return Answer(200, {"data": {"id": str(9 * 10**17 + len(self.images))}})


class LoopbackAdapter(TimeoutAdapter):
    """Carries what is meant for X to the server on loopback."""

    def __init__(self, url: str, read_seconds: float = 30) -> None:
        super().__init__(connect_seconds=30, read_seconds=read_seconds)
        self._url = url

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        assert request.url is not None
        request.url = request.url.replace(X_API, self._url)
        return super().send(request, *args, **{**kwargs, "proxies": {}})
