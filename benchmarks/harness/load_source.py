"""A Lightstreamer server in its own process that sends a load: `python -m benchmarks.harness.load_source`.

It speaks JSON lines. Out: its address, that all channels are subscribed, and when all is sent what was sent
when. In: the load to send, then how many updates are committed.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import asdict
from datetime import UTC, datetime, timedelta

from benchmarks.harness.load import Load, Send, item_of, value_of
from iss_simulator.catalogue import packaged_channels
from iss_simulator.feed import feed_fields, timestamp_hours
from iss_simulator.server import SimulatorServer
from iss_simulator.switchboard import Switchboard

_BURST = 500
"""Updates published with one stamp before the sockets get their turn."""
_STEP_S = 0.002
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Sender:
    """Publishes one load and remembers what was sent when."""

    def __init__(self, switchboard: Switchboard, items: tuple[str, ...]) -> None:
        self._switchboard = switchboard
        self._items = items
        self.sends: list[Send] = []
        self.sent = 0
        self.committed = 0

    async def run(self, load: Load) -> None:
        """Send until the load is over."""
        began = time.monotonic()
        while True:
            elapsed_s = time.monotonic() - began
            count = min(load.due(elapsed_s, self.sent, self.committed), _BURST)
            if count > 0:
                self._publish(count)
            elif load.is_over(elapsed_s):
                return
            await asyncio.sleep(0 if count == _BURST else _STEP_S)

    def _publish(self, count: int) -> None:
        ts_ms = time.time_ns() // 1_000_000
        stamp = timestamp_hours(_EPOCH + timedelta(milliseconds=ts_ms))
        for number in range(self.sent, self.sent + count):
            fields = feed_fields(stamp, value_of(number))
            self._switchboard.publish(item_of(number, self._items), fields)
        self.sends.append(Send(self.sent, count, ts_ms))
        self.sent += count


def _say(line: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


async def _standard_input() -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    return reader


async def _note_commits(reader: asyncio.StreamReader, sender: Sender) -> None:
    while line := await reader.readline():
        sender.committed = json.loads(line)["committed"]


async def _until_all_subscribed(switchboard: Switchboard, items: tuple[str, ...]) -> None:
    while not any(session.subscribed_items >= set(items) for session in switchboard.audience()):
        switchboard.session_changed.clear()
        await switchboard.session_changed.wait()


async def _serve() -> None:
    items = tuple(channel.item for channel in packaged_channels())
    switchboard = Switchboard(items)
    reader = await _standard_input()
    async with SimulatorServer(switchboard=switchboard) as server:
        _say({"url": server.url})
        await _until_all_subscribed(switchboard, items)
        sessions = {session.identity for session in switchboard.sessions}
        _say({"items": items})
        sender = Sender(switchboard, items)
        load = Load(**json.loads(await reader.readline()))
        note = asyncio.create_task(_note_commits(reader, sender))
        await sender.run(load)
        _say(
            {
                "sends": [list(asdict(send).values()) for send in sender.sends],
                "same_session": sessions == {session.identity for session in switchboard.sessions},
            }
        )
        # The end of the input is the sign to leave.
        await note


if __name__ == "__main__":
    asyncio.run(_serve())
