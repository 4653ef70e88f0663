"""A Mastodon server on loopback."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs

from tests.peebot_dagster.posts.platforms.loopback import Answer, LoopbackPlatform, Request

ACCESS_TOKEN = "mastodon-access-token-41c7"


class FakeMastodon(LoopbackPlatform):
    """Takes posts from who has the token; one that comes again with its key is answered as the first time.

    `statuses` has what was posted, by the key that it came with.
    """

    def __init__(self) -> None:
        super().__init__()
        self.statuses: dict[str, dict[str, Any]] = {}
        self.forms: list[dict[str, list[str]]] = []
        self.upload_status = 200

    def is_post(self, request: Request) -> bool:
        return (request.method, request.path) == ("POST", "/api/v1/statuses")

    def respond(self, request: Request) -> Answer:
        if request.path.startswith(("/api/v1/instance", "/api/v2/instance")):
            return Answer(200, {"version": "4.5.0", "domain": "127.0.0.1", "api_versions": {"mastodon": 7}})
        if request.headers.get("authorization") != f"Bearer {ACCESS_TOKEN}":
            return Answer(401, {"error": "The access token is invalid"})
        if request.path == "/api/v2/media":
            return self._upload(request)
        form = parse_qs(request.body.decode())
        key = request.headers["idempotency-key"]
        if key not in self.statuses:
            self.forms.append(form)
            self.texts.append(form["status"][0])
            identifier = str(115_000_000_000_000_000 + len(self.texts))
            self.statuses[key] = {
                "id": identifier,
                "url": f"https://mastodon.example/@peebot/{identifier}",
                "content": form["status"][0],
                "visibility": form["visibility"][0],
            }
        return Answer(200, self.statuses[key])

    def _upload(self, request: Request) -> Answer:
        if self.upload_status != 200:
            return Answer(self.upload_status, {"error": "No"})
        self.images.append(request.body)
        return Answer(200, {"id": "7", "type": "image", "url": None})
