"""The main loop: what the feed heard becomes readings and link states, and both are stored."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from ingest_daemon.bounded_queue import BoundedQueue
from ingest_daemon.clock import Clock
from ingest_daemon.feed import Feed, FeedEvent
from ingest_daemon.feed_keeper import FeedKeeper
from ingest_daemon.interpreter import Interpreter
from ingest_daemon.link import Link
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
        self._interpreter = Interpreter(clock, self._link)

    def run(self, stop: threading.Event) -> bool:
        """Work until `stop` is set; False when something received could not be stored before the end."""
        items = self._store.items(self._monotonic_s())
        while items is None:
            if stop.wait(STEP_S):
                return True
            items = self._store.items(self._monotonic_s())
        logger.info("subscribing %d items", len(items))
        self._link = Link(self._monotonic_s())
        self._interpreter = Interpreter(self._clock, self._link)
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
        results = self._interpreter.interpret(self._queue.take(limit))
        if keeper is not None and self._interpreter.live_heard_s is not None:
            keeper.heard(self._interpreter.live_heard_s)
            self._interpreter.live_heard_s = None
        self._store.add(results)
        self._store.add_lost(self._queue.take_dropped())

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
