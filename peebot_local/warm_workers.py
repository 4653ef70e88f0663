"""The warm workers of Dagster's runs: how many they are, and the broker of `peebot up --celery`."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Mapping
from urllib.parse import quote

from peebot_local.errors import MendableError
from peebot_local.home import Home
from peebot_local.services import listens_at, redis_server
from peebot_local.supervisor import Supervisor

BROKER = "PEEBOT_CELERY_BROKER"
WORKERS = "PEEBOT_CELERY_WORKERS"
WORKERS_OF_A_HOST = 2
_READY_TIMEOUT_S = 60.0
_LONGEST_SOCKET_PATH = 103
"""In bytes: what the address of a socket has room for on macOS; four more on Linux."""


def workers_of(environment: Mapping[str, str]) -> int:
    """How many runs the workers of all hosts execute at once; those of one, unless the environment tells."""
    told = environment.get(WORKERS)
    if not told:
        return WORKERS_OF_A_HOST
    if not told.isdecimal() or int(told) < 1:
        raise MendableError(
            f"{WORKERS} is not usable ({told!r}); set it to the runs that all workers execute at once"
        )
    return int(told)


def start_broker(home: Home, supervisor: Supervisor) -> dict[str, str]:
    """Start a Redis for this home, unless the environment names a broker; what to add to the environment."""
    if importlib.util.find_spec("dagster_celery") is None:
        raise MendableError("dagster-celery is not installed; install peebot[celery]")
    if os.environ.get(BROKER):
        return {}
    command = shutil.which("redis-server")
    if command is None:
        raise MendableError(
            f"there is no redis-server here; install it (Debian: apt install redis-server), or set {BROKER}"
        )
    socket_path = home.path.absolute() / "redis.sock"
    if len(os.fsencode(socket_path)) > _LONGEST_SOCKET_PATH:
        raise MendableError(
            f"the path of {home.path} is too long for the socket of a Redis; "
            f"set PEEBOT_HOME to a shorter one, or set {BROKER}"
        )
    supervisor.start(redis_server(command, home.path, socket_path))
    supervisor.wait_for(listens_at(socket_path), "redis", _READY_TIMEOUT_S)
    return {BROKER: f"redis+socket://{quote(str(socket_path))}?virtual_host=0"}
