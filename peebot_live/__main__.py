"""python -m peebot_live: the live page on 127.0.0.1, for the database of PEEBOT_DATABASE_URL."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Mapping

from aiohttp import web

from peebot_live.binding import LIVE_PORT, LOOPBACK, is_loopback
from peebot_live.server import application

LEVEL_ITEM = "NODE3000005"
_STOP_S = 2.0


def main() -> int:
    """Serve until SIGINT or SIGTERM; 1 when it can't."""
    options = _arguments()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    database_url = os.environ.get("PEEBOT_DATABASE_URL")
    if not database_url:
        return _refuse("set PEEBOT_DATABASE_URL to the database to be shown")
    if not (is_loopback(options.host) or options.exposed):
        return _refuse(
            f"{options.host} is more than this machine; give --exposed if the world may see the page"
        )
    app = application(database_url, level_item(os.environ))
    try:
        web.run_app(
            app, host=options.host, port=options.port, print=None, access_log=None, shutdown_timeout=_STOP_S
        )
    except OSError as error:
        return _refuse(f"{options.host}:{options.port} cannot be served: {error.strerror}")
    return 0


def level_item(environment: Mapping[str, str]) -> str:
    """The channel of the tank's level; the detectors have it by the same setting."""
    return environment.get("PEEBOT_URINE_LEVEL_ITEM") or LEVEL_ITEM


def _arguments() -> argparse.Namespace:
    arguments = argparse.ArgumentParser(prog="peebot live", description="One small page, live.")
    arguments.add_argument("--host", default=LOOPBACK, help="to listen on (default: %(default)s)")
    arguments.add_argument("--port", type=int, default=LIVE_PORT, help="default: %(default)d")
    arguments.add_argument(
        "--exposed", action="store_true", help="allow a host that is not this machine's own"
    )
    return arguments.parse_args()


def _refuse(why: str) -> int:
    sys.stderr.write(f"peebot live: {why}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
