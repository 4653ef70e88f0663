"""`python -m ingest_daemon`. Exit code 0 after a signal, 1 when something was lost, 2 for wrong settings."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time

from ingest_daemon.bounded_queue import BoundedQueue
from ingest_daemon.channel_slice import NoSuchChannelError
from ingest_daemon.clock import Clock, FeedClock, SystemClock
from ingest_daemon.daemon import Daemon
from ingest_daemon.endpoint import PatientEndpoint
from ingest_daemon.feed import Feed, FeedEvent
from ingest_daemon.health import Health
from ingest_daemon.log_lines import log_to_stderr, secrets_of
from ingest_daemon.metrics import Metrics
from ingest_daemon.outside import Outside
from ingest_daemon.service_manager import ServiceManager
from ingest_daemon.settings import Settings, SettingsError
from ingest_daemon.spool import Spool, SpoolInUseError
from ingest_daemon.store import Store

SWITCH_S = 0.05
"""For how long a thread may hold the interpreter before another gets it; Python's own is 0.005 s."""

logger = logging.getLogger("ingest_daemon")


def main() -> int:
    """Run the daemon until a signal comes."""
    try:
        settings = Settings.read(sys.argv[1:], os.environ)
    except SettingsError as error:
        sys.stderr.write(f"ingest_daemon: {error}\n")
        return 2
    log_to_stderr(settings.log_format, secrets_of(settings.database_url, os.environ))
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        spool = None if settings.spool is None else Spool(settings.spool, settings.spool_limit_mb << 20)
    except (SpoolInUseError, OSError) as error:
        sys.stderr.write(f"ingest_daemon: no spool: {error}\n")
        return 2
    clock: Clock = SystemClock() if settings.as_of is None else FeedClock(settings.as_of)
    outside = Outside(Metrics(clock.now), Health(time.monotonic()), ServiceManager(os.environ))
    endpoint = _endpoint(settings, outside)
    queue: BoundedQueue[FeedEvent] = BoundedQueue(settings.queue_capacity)
    # As many wait for their turn in the feed's queue, and for the database in the store.
    outside.metrics.queue_limit.set(2 * settings.queue_capacity)
    daemon = Daemon(
        _feed(settings, queue),
        queue,
        Store(settings.database_url, settings.source, settings.queue_capacity, outside.metrics, spool),
        clock,
        # A recording may pause, and is allowed to end.
        watch_silence=settings.clock == "system",
        channels=settings.channels,
        outside=outside,
    )
    logger.info(
        "listening to %(server)s as %(source)s", {"server": settings.server, "source": settings.source}
    )
    try:
        everything_is_stored = daemon.run(stop)
    except NoSuchChannelError as error:
        logger.error("%(error)s", {"error": error})
        return 2
    except Exception:
        logger.exception("stopped by a fault of the daemon: report it with this line")
        return 1
    finally:
        if endpoint is not None:
            endpoint.close()
    logger.info("stopped")
    return 0 if everything_is_stored else 1


def _endpoint(settings: Settings, outside: Outside) -> PatientEndpoint | None:
    if settings.metrics_port is None:
        return None
    return PatientEndpoint(settings.metrics_port, outside.metrics, outside.health, settings.metrics_host)


def _feed(settings: Settings, queue: BoundedQueue[FeedEvent]) -> Feed:
    if settings.feed == "tlcp":
        from ingest_daemon.tlcp_feed import TlcpFeed

        return TlcpFeed(settings.server, settings.adapter_set, queue)
    # Its three threads hand over to each other for every update, and lose a sixth of their time to switches.
    sys.setswitchinterval(SWITCH_S)
    # Its import starts threads, so it comes as late as possible.
    from ingest_daemon.lightstreamer_feed import LightstreamerFeed

    # What waits of a recording is bounded by its end; and to go back in it would be to go back for ever.
    gives_up = settings.clock == "system"
    return LightstreamerFeed(settings.server, settings.adapter_set, queue, gives_up=gives_up)


if __name__ == "__main__":
    sys.exit(main())
