"""The page over HTTP: the document, its events, and its two files. It takes nothing in."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from aiohttp import web

from peebot_live.broadcast import Broadcast, Parts, TooManyViewersError
from peebot_live.page import document, parts_of
from peebot_live.station import Station

KEEP_ALIVE_S = 15.0
_HERE = Path(__file__).parent
_FILES = {"live.css": "text/css", "live.js": "text/javascript"}
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}

BROADCAST = web.AppKey("broadcast", Broadcast)
STATION = web.AppKey("station", Station)


def application(database_url: str, level_item: str) -> web.Application:
    """The page of the store at this URL; `level_item` is the channel of the tank's level (%)."""
    app = web.Application()
    broadcast = Broadcast(parts_of(None))
    app[BROADCAST] = broadcast
    app[STATION] = Station(database_url, level_item, broadcast, lambda: datetime.now(UTC))
    app.router.add_get("/", _page)
    app.router.add_get("/events", _events, allow_head=False)
    app.router.add_get("/healthz", _health)
    for name, kind in _FILES.items():
        app.router.add_get(f"/{name}", _file(name, kind))
    app.on_response_prepare.append(_with_headers)
    app.on_shutdown.append(_let_all_go)
    app.cleanup_ctx.append(_watch)
    return app


async def _watch(app: web.Application) -> AsyncIterator[None]:
    task = asyncio.create_task(app[STATION].watch())
    yield
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def _let_all_go(app: web.Application) -> None:
    app[BROADCAST].end()


async def _with_headers(_: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(_HEADERS)


async def _page(request: web.Request) -> web.Response:
    return web.Response(text=document(request.app[BROADCAST].parts), content_type="text/html")


async def _health(request: web.Request) -> web.Response:
    if request.app[STATION].is_connected:
        return web.Response(text="ok\n")
    return web.Response(text="the database does not answer\n", status=503)


def _file(name: str, kind: str) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    text = (_HERE / name).read_text(encoding="utf-8")

    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=text, content_type=kind)

    return answer


async def _events(request: web.Request) -> web.StreamResponse:
    try:
        with request.app[BROADCAST].viewer() as news:
            response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
            await response.prepare(request)
            # The client has left: nobody is there to be told.
            with suppress(ConnectionResetError):
                await _tell(response, news)
            return response
    except TooManyViewersError:
        return web.Response(status=503, text="too many are looking; try again later\n")


async def _tell(response: web.StreamResponse, news: asyncio.Queue[Parts | None]) -> None:
    while True:
        try:
            parts = await asyncio.wait_for(news.get(), KEEP_ALIVE_S)
        except TimeoutError:
            await response.write(b": still here\n\n")
            continue
        if parts is None:
            return
        await response.write(f"data: {json.dumps(parts)}\n\n".encode())
