"""The two ways to talk TLCP: WebSocket frames, and HTTP requests with streamed answers."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from aiohttp import WSMsgType, web

from ingest_daemon.tlcp import (
    WEBSOCKET_PROTOCOL_SUFFIX,
    ProtocolError,
    Request,
    format_notification,
    parse_request,
    parse_request_body,
)
from iss_simulator.binding import Binding
from iss_simulator.connections import Connections
from iss_simulator.session import Session
from iss_simulator.subscription import RefusedError
from iss_simulator.switchboard import Switchboard

_PATH = "/lightstreamer"
_CLOSE_TIMEOUT_S = 0.5
_PROTOCOLS = tuple(f"TLCP-2.{minor}.0{WEBSOCKET_PROTOCOL_SUFFIX}" for minor in range(5, -1, -1))


def tlcp_routes(switchboard: Switchboard, connections: Connections) -> list[web.AbstractRouteDef]:
    """The routes under /lightstreamer."""

    async def web_socket(request: web.Request) -> web.StreamResponse:
        return await WebSocketPeer(switchboard, connections, request).serve()

    async def http(request: web.Request) -> web.StreamResponse:
        return await serve_http(switchboard, connections, request)

    return [
        web.get(_PATH, web_socket),
        web.get(f"{_PATH}/", web_socket),
        web.post(f"{_PATH}/{{name}}.txt", http),
    ]


def _text(lines: list[str]) -> str:
    return "\r\n".join([*lines, ""])


def _open(
    switchboard: Switchboard, name: str, parameters: Mapping[str, str], peer: str, current: Session | None
) -> Binding:
    if name == "create_session":
        return switchboard.create(parameters, peer)
    return switchboard.bind(parameters, current)


class WebSocketPeer:
    """One WebSocket: reads requests, and runs at most one binding at a time."""

    def __init__(self, switchboard: Switchboard, connections: Connections, request: web.Request) -> None:
        self._switchboard = switchboard
        self._connections = connections
        self._request = request
        self._socket = web.WebSocketResponse(protocols=_PROTOCOLS, compress=False, timeout=_CLOSE_TIMEOUT_S)
        self._session: Session | None = None
        self._writer: asyncio.Task[None] | None = None

    async def serve(self) -> web.WebSocketResponse:
        """Talk until the client or a fault closes the socket."""
        await self._socket.prepare(self._request)
        with self._connections.in_use(self._request, self._socket):
            try:
                async for message in self._socket:
                    if message.type is WSMsgType.TEXT:
                        await self._handle(message.data)
            finally:
                await self._stop_writer()
        return self._socket

    async def _handle(self, frame: str) -> None:
        try:
            request = parse_request(frame)
            if request.name == "wsok":
                await self._send(["WSOK"])
            elif request.name in ("create_session", "bind_session"):
                await self._bind(request)
            elif request.name == "control":
                await self._control(request)
            elif request.name != "heartbeat":
                await self._send([format_notification("ERROR", 67, f"Not supported: {request.name}")])
        except (ProtocolError, ValueError) as error:
            await self._send([format_notification("ERROR", 65, str(error))])

    async def _bind(self, request: Request) -> None:
        parameters = request.parameters[0] if request.parameters else {}
        try:
            binding = _open(
                self._switchboard, request.name, parameters, self._request.remote or "", self._session
            )
        except RefusedError as refused:
            await self._send([format_notification("CONERR", refused.code, refused.message)])
            return
        await self._stop_writer()
        self._session = binding.session
        self._writer = asyncio.create_task(self._write(binding))

    async def _control(self, request: Request) -> None:
        await self._switchboard.hold.released()
        replies = [self._switchboard.control(parameters, self._session) for parameters in request.parameters]
        await self._send([reply for reply in replies if reply is not None])

    async def _write(self, binding: Binding) -> None:
        try:
            async for lines in binding.batches():
                await self._send(lines)
        except ConnectionResetError:
            # the reading side sees the same end of the socket and finishes the connection
            return
        finally:
            self._switchboard.release(binding.session, binding)
        if binding.session.farewell is not None:
            await self._socket.close()

    async def _send(self, lines: list[str]) -> None:
        if lines:
            await self._socket.send_str(_text(lines))

    async def _stop_writer(self) -> None:
        if self._writer is not None:
            self._writer.cancel()
            await asyncio.wait([self._writer])
            self._writer = None


async def serve_http(
    switchboard: Switchboard, connections: Connections, request: web.Request
) -> web.StreamResponse:
    """Answer one HTTP request: control replies at once, create and bind as a stream."""
    response = web.StreamResponse(
        headers={"Content-Type": "text/plain; charset=utf-8", "Cache-Control": "no-store"}
    )
    await switchboard.hold.released()
    name = request.match_info["name"]
    query = dict(request.query)
    sets = parse_request_body((await request.text()).splitlines()) or ({},)
    with connections.in_use(request):
        await response.prepare(request)
        if name in ("create_session", "bind_session"):
            await _stream(switchboard, request, response, name, {**query, **sets[0]})
        elif name == "heartbeat":
            await response.write(b"REQOK\r\n")
        else:
            replies = [switchboard.control({**query, **parameters}, None) for parameters in sets]
            await response.write(_text([reply for reply in replies if reply is not None]).encode())
        await response.write_eof()
    return response


async def _stream(
    switchboard: Switchboard,
    request: web.Request,
    response: web.StreamResponse,
    name: str,
    parameters: Mapping[str, str],
) -> None:
    try:
        binding = _open(switchboard, name, parameters, request.remote or "", None)
    except RefusedError as refused:
        await response.write(_text([format_notification("CONERR", refused.code, refused.message)]).encode())
        return
    try:
        if "LS_op" in parameters:
            switchboard.control(parameters, binding.session)
        async for lines in binding.batches():
            await response.write(_text(lines).encode())
    finally:
        switchboard.release(binding.session, binding)
