"""A timeline to which a soak's PeeBot really posts, and which remembers how often it was asked to.

It speaks as much of Mastodon's API as takes a post: `POST /api/v2/media` and `POST /api/v1/statuses`
(docs.joinmastodon.org/methods/statuses). It takes each post at its word, even one that comes a second time
with its Idempotency-Key: what counts here is that nobody asks twice.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

STATUSES = "/api/v1/statuses"
MEDIA = "/api/v2/media"


class Timeline:
    """`keys` has the Idempotency-Key of each request to post, as they came."""

    def __init__(self) -> None:
        self.keys: list[str] = []
        timeline = self

        class _Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if self.path not in (STATUSES, MEDIA):
                    self.send_error(404)
                    return
                if self.path == STATUSES:
                    timeline.keys.append(self.headers.get("Idempotency-Key") or "")
                answer = json.dumps({"id": str(len(timeline.keys)), "url": None, "type": "image"}).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                """Say nothing: the soak tells what came of it."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Take posts until the end of the block."""
        thread = threading.Thread(target=self._server.serve_forever, name="timeline")
        thread.start()
        try:
            yield
        finally:
            self._server.shutdown()
            thread.join()
            self._server.server_close()
