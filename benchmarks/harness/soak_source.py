"""The simulated station in its own process, which writes down all that it says, and what really happens.

Out: one line of JSON with its address and the moment at which it began. It writes two files: the truth, as
the simulator does, and the log: a line for each update, with tabs between the moment of publishing (seconds
since 1970), how many sessions had subscribed the station then, item, TimeStamp, value and status class. What
the station said before it began, the snapshot, has the moment 0.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TextIO

from ingest_daemon.tlcp import Values
from iss_simulator.agenda import Rehearsal
from iss_simulator.live import LiveStation
from iss_simulator.server import SimulatorServer
from iss_simulator.station import Station
from iss_simulator.switchboard import Switchboard


class _Recorded(Switchboard):
    def __init__(self, log: TextIO) -> None:
        super().__init__()
        self._log = log

    def remember(self, item: str, fields: Values) -> None:
        super().remember(item, fields)
        self._write(0.0, 0, item, fields)

    def publish(self, item: str, fields: Values) -> None:
        listeners = sum(session.has_subscriptions for session in self.sessions)
        super().publish(item, fields)
        self._write(time.time(), listeners, item, fields)

    def _write(self, at: float, listeners: int, item: str, fields: Values) -> None:
        stamp, value, status = fields[:3]
        self._log.write(f"{at:.3f}\t{listeners}\t{item}\t{stamp}\t{value}\t{status}\n")


async def _serve(options: argparse.Namespace) -> None:
    now = datetime.now(UTC)
    since = now.replace(minute=0, second=0, microsecond=0) - timedelta(days=1)
    station = Station(
        options.seed,
        since,
        rate=options.rate,
        rehearsal=Rehearsal(now, options.first_visit_after, options.visit_every),
    )
    with options.log.open("w", buffering=1, encoding="utf-8") as log:
        async with SimulatorServer(switchboard=_Recorded(log)) as server:
            live = LiveStation(server.switchboard, station, now, options.truth, lambda: datetime.now(UTC))
            sys.stdout.write(json.dumps({"url": server.url, "began_at": now.timestamp()}) + "\n")
            sys.stdout.flush()
            task = asyncio.ensure_future(live.run())
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
            await asyncio.wait([task])


def _main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--seed", type=int, required=True)
    arguments.add_argument("--rate", type=float, default=70.0)
    arguments.add_argument("--first-visit-after", type=float, required=True)
    arguments.add_argument("--visit-every", type=float, required=True)
    arguments.add_argument("--log", type=Path, required=True)
    arguments.add_argument("--truth", type=Path, required=True)
    asyncio.run(_serve(arguments.parse_args()))


if __name__ == "__main__":
    _main()
