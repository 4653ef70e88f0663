"""Keeps one feed open as the daemon does, and writes a JSON list for each event: NAME URL ITEM,ITEM."""

from __future__ import annotations

import json
import logging
import sys
import threading
import time

from ingest_daemon.bounded_queue import BoundedQueue
from ingest_daemon.feed import ClientOverflow, Feed, FeedEvent, Heard, LineRejected, SessionLost, UpdatesLost
from ingest_daemon.feed_keeper import FeedKeeper
from ingest_daemon.link import Connection


def feed_named(name: str, url: str, queue: BoundedQueue[FeedEvent]) -> Feed:
    if name == "tlcp":
        from ingest_daemon.tlcp_feed import TlcpFeed

        return TlcpFeed(url, "ISSLIVE", queue)
    from ingest_daemon.lightstreamer_feed import LightstreamerFeed

    return LightstreamerFeed(url, "ISSLIVE", queue)


def say(*event: object) -> None:
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


def tell(event: FeedEvent) -> None:
    match event:
        case Heard(update, _):
            say("update", update.item, update.is_snapshot, list(update[1:7]))
        case SessionLost():
            say("session_lost")
        case UpdatesLost(item, count, _):
            say("lost", item, count)
        case LineRejected(text, reason, _):
            say("rejected", reason, text)
        case ClientOverflow(_, count, _):
            say("overflow", count)


def main() -> None:
    name, url, items = sys.argv[1:]
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
    queue: BoundedQueue[FeedEvent] = BoundedQueue(100_000)
    keeper = FeedKeeper(feed_named(name, url, queue), items.split(","), watch_silence=True)
    stop = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.readline(), stop.set()), daemon=True).start()
    connection: Connection | None = None
    while not stop.wait(0.01):
        now = keeper.check(time.monotonic())
        if now is not connection:
            connection = now
            say("connection", now.value)
        for event in queue.take(100_000):
            tell(event)
    keeper.close()
    for event in queue.take(100_000):
        tell(event)
    say("closed")


main()
