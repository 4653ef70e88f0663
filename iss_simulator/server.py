"""A Lightstreamer-compatible server on loopback: the switchboard behind an aiohttp front."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from aiohttp import web

from iss_simulator.connections import Connections
from iss_simulator.faults import Faults, fault_routes
from iss_simulator.feed import Update
from iss_simulator.switchboard import Switchboard
from iss_simulator.transports import tlcp_routes

LOOPBACK = "127.0.0.1"


class SimulatorServer:
    """Serves TLCP 2.5.0 on 127.0.0.1: `async with SimulatorServer() as server: server.publish(update)`."""

    def __init__(self, port: int = 0, switchboard: Switchboard | None = None) -> None:
        """`port` 0 picks a free one."""
        self.switchboard = switchboard or Switchboard()
        self._connections = Connections()
        self.faults = Faults(self.switchboard, self._connections)
        self._port = port
        application = web.Application()
        application.add_routes(
            [*tlcp_routes(self.switchboard, self._connections), *fault_routes(self.faults)]
        )
        # cancelled handlers tell at once that an HTTP client has gone, not only at the next PROBE
        self._runner = web.AppRunner(
            application, access_log=None, shutdown_timeout=0.2, handler_cancellation=True
        )

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        await web.TCPSite(self._runner, LOOPBACK, self._port).start()
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.faults.resume()
        await self.faults.close()
        await self._runner.cleanup()

    @property
    def url(self) -> str:
        """The address for LightstreamerClient."""
        return f"http://{LOOPBACK}:{self._port}"

    def publish(self, update: Update) -> None:
        """Send an update to all who subscribed its item; it becomes the item's snapshot."""
        self.switchboard.publish(update.item, update.fields())
