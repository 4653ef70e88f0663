"""A webhook and a mail server on loopback, both real, and both with a login."""

from __future__ import annotations

import email.policy
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from json import loads
from threading import Thread
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from peebot_local.embedded_postgres import free_port

PASSWORD = "5ecret-0f-nobody"


@dataclass
class Webhook:
    """Takes JSON from `crew` with the password; `status` is what it answers to the rest."""

    received: list[dict[str, Any]] = field(default_factory=list)
    status: int = 200
    port: int = 0

    @property
    def url(self) -> str:
        return f"json://crew:{PASSWORD}@127.0.0.1:{self.port}/hook/{PASSWORD}"


@contextmanager
def webhook_server() -> Iterator[Webhook]:
    hook = Webhook()
    login = f"Basic {b64encode(f'crew:{PASSWORD}'.encode()).decode()}"

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status = hook.status if self.headers["Authorization"] == login else 401
            if status == 200:
                hook.received.append(loads(body))
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hook.port = server.server_address[1]
    thread = Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield hook
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass
class Mailbox:
    """What the mail server has taken; `answer` is what it says to a mail."""

    received: list[EmailMessage] = field(default_factory=list)
    answer: str = "250 taken"
    port: int = 0

    @property
    def url(self) -> str:
        return (
            f"mailto://crew:{PASSWORD}@127.0.0.1:{self.port}"
            "?smtp=127.0.0.1&mode=insecure&from=peebot@example.org&to=crew@example.org"
        )

    async def handle_DATA(self, _: SMTP, __: Session, envelope: Envelope) -> str:  # noqa: N802
        assert isinstance(envelope.content, bytes)
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        assert isinstance(message, EmailMessage)
        if self.answer.startswith("250"):
            self.received.append(message)
        return self.answer

    def authenticate(self, *arguments: Any) -> AuthResult:
        given = arguments[-1]
        assert isinstance(given, LoginPassword)
        return AuthResult(success=(given.login, given.password) == (b"crew", PASSWORD.encode()))


@contextmanager
def mail_server() -> Iterator[Mailbox]:
    box = Mailbox(port=free_port())
    controller = Controller(
        box,
        hostname="127.0.0.1",
        port=box.port,
        authenticator=box.authenticate,
        auth_required=True,
        auth_require_tls=False,
    )
    controller.start()
    try:
        yield box
    finally:
        controller.stop()
