"""The faults of a soak: which comes when, and how each is done to a running PeeBot."""

# ruff: noqa: S311 - seeded chance, nothing secret

from __future__ import annotations

import json
import signal
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from random import Random

import psutil
import psycopg
from psycopg import sql as pgsql

from benchmarks.harness.own_stack import OwnStack
from peebot_local.services import DATABASE

FEED = ("drop", "close", "loop", "end", "forget", "hold")
KILLS = ("ingest", "dagster-daemon", "code-server")
_WEIGHTS = {**dict.fromkeys(FEED, 2), **dict.fromkeys(KILLS, 2), "postgres": 2, "disconnect": 3}
_ENDINGS = (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL)
_RECOVERY_S = 180.0
_DATABASES = (DATABASE, f"{DATABASE}_dagster")


@dataclass(frozen=True)
class Planned:
    """A fault to come: after a pause, for some seconds where it has a length."""

    pause_s: float
    name: str
    seconds: float
    ending: signal.Signals


@dataclass(frozen=True)
class Fault:
    """A fault that was: from when until PeeBot had recovered (seconds since 1970)."""

    name: str
    began: float
    recovered: float


def plan(seed: int, seconds: float, longest_pause_s: float, kills_share: float = 0.6) -> Iterator[Planned]:
    """Faults without end; processes are killed in the first part only, so that memory can be looked at.

    The same seed plans the same faults; how many of them there is time for, depends on the machine.
    """
    chance = Random(f"{seed} faults")
    spent = 0.0
    while True:
        names = [name for name in _WEIGHTS if spent < kills_share * seconds or name not in KILLS]
        name = chance.choices(names, [_WEIGHTS[name] for name in names])[0]
        planned = Planned(
            chance.uniform(longest_pause_s / 4, longest_pause_s),
            name,
            {"hold": chance.uniform(2, 40), "disconnect": chance.uniform(3, 40)}.get(name, 0.0),
            chance.choice(_ENDINGS),
        )
        spent += planned.pause_s + planned.seconds + 5
        yield planned


class Saboteur:
    """Does faults to a PeeBot and its feed, and waits each time until it has recovered."""

    def __init__(self, stack: OwnStack, feed_url: str) -> None:
        self._stack = stack
        self._feed_url = feed_url

    def do(self, planned: Planned, stop: threading.Event) -> Fault:
        """One fault; MendableError when PeeBot does not recover."""
        began = time.time()
        if planned.name in FEED:
            self._fail_feed(planned, stop)
        elif planned.name == "disconnect":
            self._disconnect(planned.seconds, stop)
        else:
            self._kill(planned.name, planned.ending if planned.name == "postgres" else signal.SIGKILL)
        self._wait_for(self._is_whole, f"recovery from the fault {planned.name!r}")
        return Fault(planned.name, began, time.time())

    def _fail_feed(self, planned: Planned, stop: threading.Event) -> None:
        self._control(planned.name + ("?code=48" if planned.name == "end" else ""))
        if planned.name == "hold":
            try:
                stop.wait(planned.seconds)
            finally:
                self._control("resume")

    def _disconnect(self, seconds: float, stop: threading.Event) -> None:
        with psycopg.connect(self._stack.home.postgres.url("postgres"), autocommit=True) as connection:
            try:
                self._allow_connections(connection, False)
                connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = ANY (%s)",
                    [list(_DATABASES)],
                )
                stop.wait(seconds)
            finally:
                self._allow_connections(connection, True)

    @staticmethod
    def _allow_connections(connection: psycopg.Connection, allowed: bool) -> None:
        for name in _DATABASES:
            connection.execute(
                pgsql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}").format(
                    pgsql.Identifier(name), pgsql.Literal(allowed)
                )
            )

    def _kill(self, child: str, ending: signal.Signals) -> None:
        pid = children(self._stack)[child]
        # It may have died by itself a moment ago: then it is on its way back, and is waited for all the same.
        with suppress(psutil.NoSuchProcess):
            psutil.Process(pid).send_signal(ending)
        self._wait_for(lambda: children(self._stack).get(child, pid) != pid, f"a new {child}")

    def _wait_for(self, ready: Callable[[], bool], what: str) -> None:
        self._stack.wait_for(ready, what, _RECOVERY_S)

    def _is_whole(self) -> bool:
        """Somebody listens to the feed, the database answers, and all processes are there."""
        if self._control("stats")["bound"] < 1:
            return False
        try:
            for url in (self._stack.database_url, self._stack.dagster_database_url):
                with psycopg.connect(url, connect_timeout=2):
                    pass
        except psycopg.OperationalError:
            return False
        return all(psutil.pid_exists(pid) for pid in children(self._stack).values())

    def _control(self, verb: str) -> dict[str, int]:
        request = urllib.request.Request(  # noqa: S310  always http on loopback
            f"{self._feed_url}/control/{verb}", method="GET" if verb == "stats" else "POST"
        )
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            stats: dict[str, int] = json.load(answer)
        return stats


def children(stack: OwnStack) -> dict[str, int]:
    """The pids of the runner's children, by name."""
    listed = json.loads(stack.home.children.read_text())
    return {child["name"]: int(child["identity"]["pid"]) for child in listed}
