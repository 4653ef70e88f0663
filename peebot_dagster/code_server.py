"""The code server with warm runs: `python -m peebot_dagster.code_server`; options of `dagster api grpc`.

A run in a fresh process imports for two seconds before its first line. Here one process imports everything
and does nothing else; the code server and each run are forked from it, and share its memory (decision 21).
Elsewhere than on Linux, where a fork is not safe, it is the same as `dagster api grpc`.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Sequence
from multiprocessing import forkserver
from types import FrameType
from typing import Any

PRELOADED = ["peebot_dagster.preloaded", "peebot_dagster.fork_server"]


def main(arguments: Sequence[str]) -> int:
    """Serve until SIGTERM or SIGINT; the exit code."""
    if sys.platform != "linux":
        _dagster_api_grpc(arguments)
        return 0
    # Only a process with one thread is forked safely, and numpy's linear algebra would start some.
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    multiprocessing.set_forkserver_preload(PRELOADED)
    server = multiprocessing.get_context("forkserver").Process(target=_serve, args=(list(arguments),))
    try:
        server.start()
    except (EOFError, OSError):
        # The process that imports has said why it has ended.
        return 1

    def end(number: int, frame: FrameType | None) -> None:
        server.terminate()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    server.join()
    asked_to = server.exitcode == -signal.SIGTERM
    return 0 if asked_to else server.exitcode or 0


def _serve(arguments: Sequence[str]) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # Since Python 3.14 only who has started a fork server may use it: there, one more is started.
    if not hasattr(forkserver._forkserver, "_forkserver_authkey"):
        forkserver._forkserver.ensure_running = _is_running  # type: ignore[method-assign]
    # Dagster's code server takes SIGTERM for it.
    signal.signal(signal.SIGINT, _interrupt_once)
    _fork_runs()
    _dagster_api_grpc(arguments)


def _interrupt_once(number: int, frame: FrameType | None) -> None:
    # The parent passes on what whoever stops everything sends to each process.
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        # Nobody is left whom a signal would reach, and the port is needed.
        os._exit(1)


def _is_running() -> None:
    """This process was forked from the fork server that is meant."""


def _fork_runs() -> None:
    # No setting of Dagster's says how a run's process is started.
    from dagster._grpc import server

    class ForkedRuns(server.DagsterApiServer):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            self._mp_ctx = multiprocessing.get_context("forkserver")  # type: ignore[assignment]

    server.DagsterApiServer = ForkedRuns  # type: ignore[misc]


def _dagster_api_grpc(arguments: Sequence[str]) -> None:
    from dagster._cli.api import grpc_command

    grpc_command.main(args=list(arguments), prog_name="dagster api grpc")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
