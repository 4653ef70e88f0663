"""The server in a thread of its own, for callers that have no event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self, TypeVar

from iss_simulator.server import SimulatorServer

Result = TypeVar("Result")


class ServerThread:
    """`with ServerThread() as simulator: simulator.call(lambda server: server.publish(update))`."""

    def __init__(self, make_server: Callable[[], SimulatorServer] = SimulatorServer) -> None:
        self._make_server = make_server
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="iss_simulator", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self._start(), self._loop).result()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._server.__aexit__(None, None, None), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def url(self) -> str:
        """The address for LightstreamerClient."""
        return self._server.url

    def call(self, action: Callable[[SimulatorServer], Result]) -> Result:
        """Run an action on the server's loop and wait for its result."""

        async def run() -> Result:
            return action(self._server)

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result()

    def wait_for(self, action: Callable[[SimulatorServer], Awaitable[Result]]) -> Result:
        """Run an asynchronous action on the server's loop and wait for its result."""

        async def run() -> Result:
            return await action(self._server)

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result()

    async def _start(self) -> SimulatorServer:
        return await self._make_server().__aenter__()
