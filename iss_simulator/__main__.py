"""`python -m iss_simulator station|recording …`: prints one line of JSON with its address when ready."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from iss_simulator.playback import Playback
from iss_simulator.recording import Recording, RecordingError
from iss_simulator.server import SimulatorServer


def _utc(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="iss_simulator", description="A Lightstreamer server on 127.0.0.1.")
    commands = parser.add_subparsers(dest="command", required=True)
    recording = commands.add_parser("recording", help="play a recorded CSV file (plain or .gz)")
    recording.add_argument("file", type=Path)
    recording.add_argument("--port", type=int, default=0, help="0 picks a free one")
    recording.add_argument("--speed", type=float, default=1.0, help="playback seconds per real second")
    recording.add_argument("--item", help="the channel of a file without an item column, as in NODE3000005")
    recording.add_argument("--start", type=_utc, help="first event time (ISO 8601)")
    recording.add_argument("--stop", type=_utc, help="event time to stop before (ISO 8601)")
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


async def _play_recording(options: argparse.Namespace) -> None:
    recording = Recording(options.file, datetime.now(UTC), options.item, options.start, options.stop)
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
        asyncio.run(_run_until_stopped(_play_recording(options)))
    except (RecordingError, OSError) as error:
        sys.stderr.write(f"iss_simulator: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
