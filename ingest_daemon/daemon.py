"""The main loop: what the feed heard becomes readings and link states, and both are stored."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from ingest_daemon.bounded_queue import BoundedQueue
from ingest_daemon.clock import Clock
from ingest_daemon.feed import Feed, FeedEvent, Heard, SessionLost, UpdatesLost
from ingest_daemon.feed_keeper import FeedKeeper
from ingest_daemon.link import CLOCK_ITEM, Link
from ingest_daemon.reading import Reading, Rejection, parse
from ingest_daemon.store import Store

STEP_S = 0.1
"""Seconds between two batches: what arrives is committed 250 ms later at the latest."""

logger = logging.getLogger(__name__)


class Daemon:
    """Runs in one thread; the feed's threads only ever touch the queue."""

    def __init__(
        self,
        feed: Feed,
        queue: BoundedQueue[FeedEvent],
        store: Store,
        clock: Clock,
        *,
        watch_silence: bool,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._feed = feed
        self._queue = queue
        self._store = store
        self._clock = clock
        self._watch_silence = watch_silence
        self._monotonic_s = monotonic_s
        self._link = Link(monotonic_s())

    def run(self, stop: threading.Event) -> bool:
        """Work until `stop` is set; False when something received could not be stored before the end."""
        items = self._store.items(self._monotonic_s())
        while items is None:
            if stop.wait(STEP_S):
                return True
            items = self._store.items(self._monotonic_s())
        logger.info("subscribing %d items", len(items))
        self._link = Link(self._monotonic_s())
        keeper = FeedKeeper(self._feed, items, self._watch_silence)
        try:
            while not stop.wait(STEP_S):
                self._step(keeper)
        finally:
            keeper.close()
        return self._last_flush()

    def _step(self, keeper: FeedKeeper) -> None:
        # Read before the queue is: what came before `now` is stored when the link is confirmed up to `now`.
        now, monotonic_s = self._clock.now(), self._monotonic_s()
        connection = keeper.check(monotonic_s)
        room = self._store.room()
        has_caught_up = len(self._queue) <= room
        self._take_events(keeper, room)
        if not has_caught_up:
            # This is no silence: what the feed says waits until it can be stored, and the link is not known.
            keeper.heard(monotonic_s)
        elif now is not None:
            self._link.check(connection, now, monotonic_s)
        self._hand_over_transitions()
        self._store.flush(now if has_caught_up else None, monotonic_s)

    def _take_events(self, keeper: FeedKeeper | None, limit: int) -> None:
        results: list[Reading | Rejection] = []
        for event in self._queue.take(limit):
            match event:
                case Heard():
                    results.append(self._interpret(event))
                    if keeper is not None and not event.update.is_snapshot:
                        keeper.heard(event.monotonic_s)
                case SessionLost():
                    self._link.session_lost()
                case UpdatesLost(item, count, heard_at):
                    received_at = self._clock.received(heard_at)
                    results.append(Rejection(item, {"count": count}, "lost_by_server", received_at))
        self._store.add(results)
        self._store.add_lost(self._queue.take_dropped())

    def _interpret(self, heard: Heard) -> Reading | Rejection:
        heard_at = heard.update.received_at
        reference = self._clock.dating_reference(heard_at)
        update = heard.update if reference is heard_at else heard.update._replace(received_at=reference)
        result = parse(update)
        if isinstance(result, Reading):
            self._clock.observe(result)
        received_at = self._clock.received(heard_at)
        if self._clock.now() is not None:
            self._link.heard(received_at)
            if isinstance(result, Reading) and result.item == CLOCK_ITEM:
                self._link.tick(result, received_at, heard.monotonic_s)
        return result if received_at is result.received_at else result._replace(received_at=received_at)

    def _hand_over_transitions(self) -> None:
        transitions = self._link.transitions()
        for transition in transitions:
            since = transition.at.isoformat(timespec="milliseconds")
            logger.info("link: %s since %s", transition.state, since)
        self._store.add_transitions(transitions)

    def _last_flush(self) -> bool:
        now = self._clock.now()
        self._take_events(None, len(self._queue))
        self._hand_over_transitions()
        return self._store.finish(now)
