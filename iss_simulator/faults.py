"""What can go wrong, on request: fault verbs as methods, and the same as POST /control/<verb>."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web

from iss_simulator.connections import Connections
from iss_simulator.subscription import RefusedError
from iss_simulator.switchboard import Switchboard


class Faults:
    """Breaks a running server in the ways that clients must survive; acts on all its sessions."""

    def __init__(self, switchboard: Switchboard, connections: Connections) -> None:
        self._switchboard = switchboard
        self._connections = connections

    def drop(self) -> None:
        """Cut every connection by a TCP reset; sessions are kept."""
        self._connections.reset_all()

    async def close(self) -> None:
        """Close every connection politely (WebSocket close frame 1001); sessions are kept."""
        await self._connections.close_all()

    def end(self, code: int = 32, message: str = "Session closed on server side") -> None:
        """Say END: 41 and 48 make a client come back by itself, others do not."""
        for session in self._switchboard.sessions:
            session.end(code, message)

    def loop(self) -> None:
        """Ask every client to bind again (LOOP)."""
        for session in self._switchboard.sessions:
            session.loop_requested = True
            session.wake()

    def overflow(self, item: str, lost: int = 1) -> None:
        """Say that updates of an item were lost (OV)."""
        for session in self._switchboard.sessions:
            session.announce_loss(item, lost)

    def raw(self, line: str) -> None:
        """Send any line as it stands, uncounted."""
        for session in self._switchboard.sessions:
            session.uncounted.append(line)
            session.wake()

    def hold(self) -> None:
        """Go silent: sockets stay open, nothing is sent, no request is answered."""
        self._switchboard.hold.switch(on=True)

    def resume(self) -> None:
        """Speak again after `hold`."""
        self._switchboard.hold.switch(on=False)

    def forget(self) -> None:
        """Lose all sessions and their connections, as a server that restarts."""
        for session in self._switchboard.sessions:
            self._switchboard.forget(session)
        self.drop()

    def refuse(self, code: int, message: str = "Refused") -> None:
        """Answer every create_session with CONERR."""
        self._switchboard.refusal = RefusedError(code, message)

    def accept(self) -> None:
        """Create sessions again after `refuse`."""
        self._switchboard.refusal = None

    def stats(self) -> dict[str, int]:
        """Counts of connections, sessions, bound sessions and unsent lines."""
        sessions = self._switchboard.sessions
        return {
            "connections": self._connections.count,
            "sessions": len(sessions),
            "bound": sum(session.is_bound for session in sessions),
            "unsent": sum(session.log.unsent for session in sessions),
        }


def fault_routes(faults: Faults) -> list[web.AbstractRouteDef]:
    """POST /control/<verb> with the verb's arguments in the query; GET /control/stats."""

    async def handle(request: web.Request) -> web.Response:
        verb = _VERBS.get(request.match_info["verb"])
        if verb is None:
            raise web.HTTPNotFound(text=f"verbs: {', '.join(_VERBS)}")
        try:
            outcome = verb(faults, request.query)
        except (KeyError, ValueError) as error:
            raise web.HTTPBadRequest(text=repr(error)) from error
        if outcome is not None:
            await outcome
        return web.json_response(faults.stats())

    async def stats(_request: web.Request) -> web.Response:
        return web.json_response(faults.stats())

    return [web.post("/control/{verb}", handle), web.get("/control/stats", stats)]


_VERBS: dict[str, Callable[[Faults, Mapping[str, str]], Awaitable[None] | None]] = {
    "drop": lambda faults, _: faults.drop(),
    "close": lambda faults, _: faults.close(),
    "end": lambda faults, query: faults.end(int(query.get("code", "32"))),
    "loop": lambda faults, _: faults.loop(),
    "overflow": lambda faults, query: faults.overflow(query["item"], int(query.get("lost", "1"))),
    "raw": lambda faults, query: faults.raw(query["line"]),
    "hold": lambda faults, _: faults.hold(),
    "resume": lambda faults, _: faults.resume(),
    "forget": lambda faults, _: faults.forget(),
    "refuse": lambda faults, query: faults.refuse(int(query["code"])),
    "accept": lambda faults, _: faults.accept(),
}
