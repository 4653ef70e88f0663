"""`python -m ingest_daemon`. Exit code 0 after a signal, 1 when something was lost, 2 for wrong settings."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading

from ingest_daemon.bounded_queue import BoundedQueue
from ingest_daemon.clock import Clock, FeedClock, SystemClock
from ingest_daemon.daemon import Daemon
from ingest_daemon.feed import Feed, FeedEvent
from ingest_daemon.settings import Settings, SettingsError
from ingest_daemon.spool import Spool, SpoolInUseError
from ingest_daemon.store import Store

logger = logging.getLogger("ingest_daemon")


def main() -> int:
    """Run the daemon until a signal comes."""
    try:
        settings = Settings.read(sys.argv[1:], os.environ)
    except SettingsError as error:
        sys.stderr.write(f"ingest_daemon: {error}\n")
        return 2
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        spool = None if settings.spool is None else Spool(settings.spool, settings.spool_limit_mb << 20)
    except (SpoolInUseError, OSError) as error:
        sys.stderr.write(f"ingest_daemon: no spool: {error}\n")
        return 2
    queue: BoundedQueue[FeedEvent] = BoundedQueue(settings.queue_capacity)
    clock: Clock = SystemClock() if settings.as_of is None else FeedClock(settings.as_of)
    daemon = Daemon(
        _feed(settings, queue),
        queue,
        Store(settings.database_url, settings.source, settings.queue_capacity, spool=spool),
        clock,
        # A recording may pause, and is allowed to end.
        watch_silence=settings.clock == "system",
    )
    logger.info("listening to %s as %s", settings.server, settings.source)
    everything_is_stored = daemon.run(stop)
    logger.info("stopped")
    return 0 if everything_is_stored else 1


def _feed(settings: Settings, queue: BoundedQueue[FeedEvent]) -> Feed:
    if settings.feed == "tlcp":
        from ingest_daemon.tlcp_feed import TlcpFeed

        return TlcpFeed(settings.server, settings.adapter_set, queue)
    # Its import starts threads, so it comes as late as possible.
    from ingest_daemon.lightstreamer_feed import LightstreamerFeed

    return LightstreamerFeed(settings.server, settings.adapter_set, queue)


if __name__ == "__main__":
    sys.exit(main())
