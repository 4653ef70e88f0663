"""A feed in its own process of which some items do what they are told.

The station's clock ticks each second, and other channels say something at the station's usual rate. It speaks
JSON lines. Out: its address; that a client has subscribed everything; and for each command when it was sent.
In: commands, each a list of [item, event time in seconds since 1970 (UTC), value]. The clock itself is only
told the Status.Class with which it ticks on.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import cycle

from benchmarks.harness.usual_traffic import usual_value
from iss_simulator.catalogue import packaged_channels
from iss_simulator.feed import CLOCK_ITEM, GOOD, Update, clock_update
from iss_simulator.server import SimulatorServer
from iss_simulator.switchboard import Switchboard

RATE_PER_S = 70
_STEP_S = 0.02
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass
class _Clock:
    status_class: str = GOOD


async def _serve(quiet: frozenset[str]) -> None:
    items = tuple(channel.item for channel in packaged_channels())
    switchboard = Switchboard(items)
    clock = _Clock()
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    async with SimulatorServer(switchboard=switchboard) as server:
        _say({"url": server.url})
        others = [item for item in items if item not in quiet and item != CLOCK_ITEM]
        traffic = asyncio.create_task(_traffic(switchboard, others, clock))
        while not any(session.subscribed_items >= set(items) for session in switchboard.audience()):
            switchboard.session_changed.clear()
            await switchboard.session_changed.wait()
        _say({"subscribed": len(items)})
        while line := await reader.readline():
            for item, at_s, value in json.loads(line):
                if item == CLOCK_ITEM:
                    clock.status_class = value
                else:
                    _publish(switchboard, Update(item, _EPOCH + timedelta(seconds=at_s), value))
            _say({"sent_at": time.time()})
        traffic.cancel()


async def _traffic(switchboard: Switchboard, items: list[str], clock: _Clock) -> None:
    """The clock once a second, the other items in turn."""
    others = cycle(items)
    began, sent, ticked = time.monotonic(), 0, -1
    while True:
        elapsed_s = time.monotonic() - began
        now = datetime.now(UTC)
        if int(elapsed_s) > ticked:
            ticked = int(elapsed_s)
            _publish(switchboard, clock_update(now, clock.status_class))
        while sent < elapsed_s * RATE_PER_S:
            item = next(others)
            _publish(switchboard, Update(item, now, f"{usual_value(item, sent):g}"))
            sent += 1
        await asyncio.sleep(_STEP_S)


def _publish(switchboard: Switchboard, update: Update) -> None:
    switchboard.publish(update.item, update.fields())


def _say(line: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(_serve(frozenset(sys.argv[1:])))
