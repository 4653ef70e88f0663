"""A server on loopback that stands in for a platform: counts what arrives, and misbehaves when told to."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Answer:
    """What the server does with one request: an answer, or `drop` the connection, or `hold` it unanswered."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    drop: bool = False
    hold: bool = False


@dataclass(frozen=True)
class Request:
    """One request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class LoopbackPlatform:
    """Takes posts. `answers` come, one each, before what the platform would say to a post.

    `texts` are the posts that it took, `requests` counts the attempts, `images` holds what was uploaded.
    """

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.images: list[bytes] = []
        self.answers: list[Answer] = []
        self.requests = 0
        self.released = threading.Event()
        self._lock = threading.Lock()
        platform = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                self._answer()

            def do_GET(self) -> None:
                self._answer()

            def _answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                answer = platform.answer(Request(self.command, self.path, headers, body))
                if answer.hold:
                    platform.released.wait(30)
                if answer.drop or answer.hold:
                    self.close_connection = True
                    return
                content = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
                self.send_response(answer.status)
                for name, value in {"Content-Type": "application/json", **answer.headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.send_header("Connection", "close")
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def is_post(self, request: Request) -> bool:
        """Whether the request asks to make something public."""
        raise NotImplementedError

    def respond(self, request: Request) -> Answer:
        """What the platform says to it."""
        raise NotImplementedError

    def answer(self, request: Request) -> Answer:
        with self._lock:
            if self.is_post(request):
                self.requests += 1
                if self.answers:
                    return self.answers.pop(0)
            return self.respond(request)

    @contextmanager
    def serving(self) -> Iterator[None]:
        thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield
        finally:
            self.released.set()
            self.server.shutdown()
            thread.join()
            self.server.server_close()
