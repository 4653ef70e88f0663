"""One bind of a session to a connection: which lines go out, and when."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass

from ingest_daemon.tlcp import format_notification
from iss_simulator.session import Session

_LINES_PER_BATCH = 64
_SYNC_EVERY_S = 20.0


@dataclass(frozen=True, slots=True)
class BindOptions:
    """How a client wants to be served on one connection (seconds, bytes)."""

    polling: bool
    idle_s: float
    loop_ms: int
    keepalive_s: float
    send_sync: bool
    content_length: int | None
    received: int | None

    @classmethod
    def from_request(cls, parameters: Mapping[str, str], default_keepalive_s: float) -> BindOptions:
        """Read the parameters of create_session or bind_session."""
        keepalive_ms = float(parameters.get("LS_keepalive_millis", 0)) or default_keepalive_s * 1000
        content_length = parameters.get("LS_content_length")
        received = parameters.get("LS_recovery_from")
        return cls(
            polling=parameters.get("LS_polling") == "true",
            idle_s=float(parameters.get("LS_idle_millis", 0)) / 1000,
            loop_ms=int(parameters.get("LS_polling_millis", 0)),
            keepalive_s=max(0.2, keepalive_ms / 1000),
            send_sync=parameters.get("LS_send_sync") != "false",
            content_length=int(content_length) if content_length else None,
            received=int(received) if received else None,
        )


class Hold:
    """The fault of a silent server: while it is on, no line leaves."""

    def __init__(self) -> None:
        self._released = asyncio.Event()
        self._released.set()

    @property
    def is_on(self) -> bool:
        """Whether the server is silent now."""
        return not self._released.is_set()

    def switch(self, on: bool) -> None:
        """Go silent, or speak again."""
        if on:
            self._released.clear()
        else:
            self._released.set()

    async def released(self) -> None:
        """Wait until the server speaks."""
        await self._released.wait()


class Binding:
    """Yields batches of lines until LOOP, END, or until another connection takes the session."""

    def __init__(self, session: Session, options: BindOptions, head: Sequence[str], hold: Hold) -> None:
        self.session = session
        self._options = options
        self._head = head
        self._hold = hold
        self._wake_up = session.attach(self)
        self._bytes_left = options.content_length

    def detach(self) -> bool:
        """The connection is gone or done; False if the session lives on another one."""
        return self.session.detach(self)

    async def batches(self) -> AsyncIterator[list[str]]:
        """Lines to write at once (without CR LF); the caller writes them before it asks for more."""
        loop = asyncio.get_running_loop()
        began = quiet_since = next_sync = loop.time()
        await self._hold.released()
        yield list(self._head)
        while True:
            await self._hold.released()
            if not self.session.is_attached(self):
                return
            self._wake_up.clear()
            lines = self._take()
            if lines:
                quiet_since = loop.time()
                yield lines
                if self.session.log.unsent and not self._is_used_up:
                    continue
            if self.session.farewell is not None:
                yield [self.session.farewell]
                return
            if self._must_loop(polled=bool(lines), waited_s=loop.time() - began):
                self.session.loop_requested = False
                self.detach()
                yield [format_notification("LOOP", self._options.loop_ms if self._options.polling else 0)]
                return
            silence = self._options.idle_s if self._options.polling else self._options.keepalive_s
            if await self._is_woken_within(quiet_since + silence - loop.time()) or self._hold.is_on:
                continue
            quiet_since = loop.time()
            if not self._options.polling and self.session.is_attached(self):
                if self._options.send_sync and quiet_since >= next_sync:
                    next_sync = quiet_since + _SYNC_EVERY_S
                    yield [format_notification("SYNC", round(quiet_since - began))]
                else:
                    yield [format_notification("PROBE")]

    def _take(self) -> list[str]:
        lines = [*self.session.uncounted, *self.session.log.take(_LINES_PER_BATCH)]
        self.session.uncounted.clear()
        if self._bytes_left is not None:
            self._bytes_left -= sum(len(line.encode()) + 2 for line in lines)
        return lines

    @property
    def _is_used_up(self) -> bool:
        return self._bytes_left is not None and self._bytes_left <= 0

    def _must_loop(self, polled: bool, waited_s: float) -> bool:
        if self._options.polling:
            return polled or waited_s >= self._options.idle_s or self.session.loop_requested
        return self.session.loop_requested or self._is_used_up

    async def _is_woken_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                await self._wake_up.wait()
        except TimeoutError:
            return False
        return True
