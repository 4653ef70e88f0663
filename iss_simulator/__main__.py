"""`python -m iss_simulator station|recording …`: prints one line of JSON with its address when ready."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from iss_simulator.agenda import Rehearsal
from iss_simulator.live import LiveStation
from iss_simulator.playback import Playback
from iss_simulator.recording import Recording, RecordingError
from iss_simulator.server import SimulatorServer
from iss_simulator.station import Station


def _utc(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="iss_simulator", description="A Lightstreamer server on 127.0.0.1.")
    commands = parser.add_subparsers(dest="command", required=True)
    station = commands.add_parser("station", help="simulate a station, live from now on")
    station.add_argument("--port", type=int, default=0, help="0 picks a free one")
    station.add_argument("--seed", type=int, default=1)
    station.add_argument("--since", type=_utc, help="begin of its story (ISO 8601); default: a day ago")
    station.add_argument("--truth", type=Path, help="JSONL file to append what really happens to")
    station.add_argument(
        "--first-visit-after", type=float, metavar="SECONDS", help="have a visit then, and nothing before it"
    )
    station.add_argument(
        "--visit-every", type=float, metavar="SECONDS", help="have visits at this pace and nothing else"
    )
    station.add_argument("--rate", type=float, default=70.0, help="updates a second, all channels together")
    recording = commands.add_parser("recording", help="play a recorded CSV file (plain or .gz)")
    recording.add_argument("file", type=Path)
    recording.add_argument("--port", type=int, default=0, help="0 picks a free one")
    recording.add_argument("--speed", type=float, default=1.0, help="playback seconds per real second")
    recording.add_argument("--item", help="the channel of a file without an item column, as in NODE3000005")
    recording.add_argument("--start", type=_utc, help="first event time (ISO 8601)")
    recording.add_argument("--stop", type=_utc, help="event time to stop before (ISO 8601)")
    recording.add_argument("--year", type=int, help="year of a file of hours; default: the latest possible")
    recording.add_argument(
        "--rewind", type=float, default=30.0, help="real seconds before a lost session to go back to"
    )
    recording.add_argument("--exit-when-finished", action="store_true")
    return parser


def _announce(line: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


async def _run_until_stopped(work: Coroutine[Any, Any, None]) -> None:
    """Run until the work ends or SIGTERM or SIGINT comes."""
    task = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def _run_station(options: argparse.Namespace) -> None:
    now = datetime.now(UTC)
    since = options.since or now.replace(minute=0, second=0, microsecond=0) - timedelta(days=1)
    rehearsal = None
    if options.first_visit_after is not None or options.visit_every is not None:
        first = options.visit_every if options.first_visit_after is None else options.first_visit_after
        rehearsal = Rehearsal(now, first, options.visit_every)
    station = Station(options.seed, since, rate=options.rate, rehearsal=rehearsal)
    async with SimulatorServer(options.port) as server:
        live = LiveStation(server.switchboard, station, now, options.truth, lambda: datetime.now(UTC))
        _announce({"url": server.url})
        await live.run()


async def _play_recording(options: argparse.Namespace) -> None:
    now = datetime.now(UTC)
    recording = Recording(options.file, now, options.item, options.start, options.stop, options.year)
    if next(recording.rows(), None) is None:
        raise RecordingError(f"{options.file}: no row in the given time")
    async with SimulatorServer(options.port) as server, asyncio.TaskGroup() as tasks:
        playback = Playback(server.switchboard, recording, options.speed, options.rewind)
        _announce({"url": server.url})
        player = tasks.create_task(playback.run())
        await playback.finished.wait()
        _announce({"finished": True})
        if options.exit_when_finished:
            player.cancel()


def main() -> int:
    """Run the command line; 0, or 2 with one line on stderr that says what to do."""
    options = _arguments().parse_args()
    try:
        work = _run_station if options.command == "station" else _play_recording
        asyncio.run(_run_until_stopped(work(options)))
    except (RecordingError, OSError) as error:
        sys.stderr.write(f"iss_simulator: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
