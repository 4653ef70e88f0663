"""Ports of 127.0.0.1 for what a runner starts: two runners that start at once choose different ones."""

from __future__ import annotations

import socket
from contextlib import ExitStack, suppress

from peebot_local.embedded_postgres import port_is_free
from peebot_local.errors import MendableError

_TRIES = 100


class PortClaims:
    """Ports that no other runner chooses until `close`; a runner that dies, however, claims nothing.

    A child binds its port seconds after it was chosen. Till then a UDP socket of the same number, which is in
    nobody's way, tells other runners of it.
    """

    def __init__(self) -> None:
        self._held = ExitStack()

    def next_free(self, first: int) -> int:
        """The first port from this one on that nobody listens on and no other runner has claimed."""
        for port in range(first, first + _TRIES):
            if port_is_free(port) and self._claim(port):
                return port
        raise MendableError(f"the ports {first} to {first + _TRIES - 1} of 127.0.0.1 are in use; free one")

    def given(self, port: int, setting: str) -> int:
        """This port; MendableError, which names the setting, when somebody listens there."""
        if not port_is_free(port):
            raise MendableError(
                f"port {port} of 127.0.0.1 is in use; stop what listens there, or set {setting} to another"
            )
        self._claim(port)
        return port

    def close(self) -> None:
        self._held.close()

    def _claim(self, port: int) -> bool:
        claim = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with ExitStack() as unless_claimed:
            unless_claimed.enter_context(claim)
            with suppress(OSError):
                claim.bind(("127.0.0.1", port))
                self._held.enter_context(unless_claimed.pop_all())
                return True
        return False
