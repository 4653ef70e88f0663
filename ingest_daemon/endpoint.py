"""/metrics and /healthz over HTTP, in threads of their own."""

from __future__ import annotations

import logging
import socket
import threading
import time
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer

from ingest_daemon.health import Health
from ingest_daemon.metrics import CONTENT_TYPE, Metrics

LOOPBACK = "127.0.0.1"
SLOW_CLIENT_S = 5.0
RETRY_S = 15.0

logger = logging.getLogger(__name__)


class Endpoint:
    """Answers from construction to close(); raises OSError when the port (0: any) can't be had.

    It asks nobody for a login: a `host` that others reach is the caller's to answer for.
    """

    def __init__(self, port: int, metrics: Metrics, health: Health, host: str = LOOPBACK) -> None:
        self._server = _Server(host, port, metrics, health)
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, name="endpoint", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class PatientEndpoint:
    """An Endpoint as soon as its port can be had; until then it is tried every `retry_s`.

    Another program on the port must not keep the daemon from storing what it hears.
    """

    def __init__(
        self, port: int, metrics: Metrics, health: Health, host: str = LOOPBACK, retry_s: float = RETRY_S
    ) -> None:
        self._open = partial(Endpoint, port, metrics, health, host)
        self._closing = threading.Event()
        self._endpoint: Endpoint | None = None
        self._thread = threading.Thread(target=self._try, args=(retry_s,), name="endpoint-wait", daemon=True)
        try:
            self._begin()
        except OSError as error:
            logger.error(
                "port %(port)s of %(host)s can't be had (%(reason)s): the daemon works, but tells nobody how"
                " it is; stop what has the port, or set PEEBOT_METRICS_PORT",
                {"port": port, "host": host, "reason": error.strerror},
            )
            self._thread.start()

    def close(self) -> None:
        """Stop answering, or trying to."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join()
        if self._endpoint is not None:
            self._endpoint.close()

    def _begin(self) -> None:
        self._endpoint = self._open()
        logger.info("metrics at %(url)s/metrics", {"url": self._endpoint.url})

    def _try(self, retry_s: float) -> None:
        while self._endpoint is None and not self._closing.wait(retry_s):
            with suppress(OSError):
                self._begin()


class _Server(ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, host: str, port: int, metrics: Metrics, health: Health) -> None:
        if ":" in host:
            self.address_family = socket.AF_INET6
        self.metrics = metrics
        self.health = health
        super().__init__((host, port), _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        logger.warning("an HTTP request could not be answered", exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = SLOW_CLIENT_S
    server_version = "PeeBot"
    sys_version = ""

    def do_GET(self) -> None:
        if self.path == "/metrics":
            self._answer(HTTPStatus.OK, CONTENT_TYPE, self.server.metrics.exposition())
        elif self.path == "/healthz":
            is_ready, line = self.server.health.answer(time.monotonic())
            status = HTTPStatus.OK if is_ready else HTTPStatus.SERVICE_UNAVAILABLE
            self._answer(status, "application/json", f"{line}\n".encode())
        else:
            self._answer(HTTPStatus.NOT_FOUND, "text/plain", b"/metrics or /healthz\n")

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
        logger.debug("HTTP: %(request)s", {"request": format % arguments})

    def _answer(self, status: HTTPStatus, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
