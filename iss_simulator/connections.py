"""The sockets that carry sessions now, and the ways to cut them."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import web

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Connections:
    """Streaming and polling connections in use; all calls come from the server's event loop."""

    def __init__(self) -> None:
        self._in_use: dict[asyncio.Transport, web.WebSocketResponse | None] = {}

    @contextmanager
    def in_use(self, request: web.Request, web_socket: web.WebSocketResponse | None = None) -> Iterator[None]:
        """Note a connection for as long as it carries a session."""
        transport = request.transport
        if not isinstance(transport, asyncio.Transport):
            raise ConnectionResetError("the client is gone already")
        self._in_use[transport] = web_socket
        try:
            yield
        finally:
            self._in_use.pop(transport, None)

    @property
    def count(self) -> int:
        """How many connections carry a session."""
        return len(self._in_use)

    def reset_all(self) -> None:
        """Cut every connection by a TCP reset."""
        for transport in list(self._in_use):
            raw = transport.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            transport.abort()

    async def close_all(self) -> None:
        """Close every connection politely: a close frame on WebSockets, end of stream elsewhere."""
        web_sockets = [web_socket for web_socket in self._in_use.values() if web_socket is not None]
        for transport, web_socket in list(self._in_use.items()):
            if web_socket is None:
                transport.close()
        await asyncio.gather(*(web_socket.close(code=1001) for web_socket in web_sockets))
