"""The main loop: what the feed heard becomes readings and link states, and both are stored."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta

from ingest_daemon.bounded_queue import BoundedQueue
from ingest_daemon.channel_slice import ChannelSlice
from ingest_daemon.clock import Clock
from ingest_daemon.feed import Feed, FeedEvent, Heard
from ingest_daemon.feed_keeper import FeedKeeper
from ingest_daemon.interpreter import Interpreter
from ingest_daemon.link import SILENCE_S, Link
from ingest_daemon.outside import Outside, unseen
from ingest_daemon.store import Store

STEP_S = 0.2
"""Seconds between two batches: what arrives is committed 300 ms later at the latest."""

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
        channels: ChannelSlice = ChannelSlice(),  # noqa: B008  it is frozen
        outside: Outside | None = None,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._feed = feed
        self._queue = queue
        self._store = store
        self._clock = clock
        self._watch_silence = watch_silence
        self._channels = channels
        self._outside = outside or unseen()
        self._heard_s: float | None = None
        self._link_unknown_until_s = float("-inf")
        self._monotonic_s = monotonic_s
        self._link = Link(monotonic_s())
        self._interpreter = Interpreter(clock, self._link)

    def run(self, stop: threading.Event) -> bool:
        """Work until `stop` is set; False when something received could not be stored before the end.

        Raises NoSuchChannelError before anything is subscribed.
        """
        catalogue = self._store.items(self._monotonic_s())
        while catalogue is None:
            self._outside.round_done(self._monotonic_s(), away_since_s=self._store.away_since_s())
            if stop.wait(STEP_S):
                return True
            catalogue = self._store.items(self._monotonic_s())
        items = self._channels.items(catalogue)
        logger.info("subscribing %(items)d items", {"items": len(items)})
        self._link = Link(self._monotonic_s())
        self._interpreter = Interpreter(self._clock, self._link)
        keeper = FeedKeeper(self._feed, items, self._watch_silence, self._outside.metrics.reconnects.inc)
        try:
            while not stop.wait(STEP_S):
                self._step(keeper)
        finally:
            self._outside.manager.stopping()
            known_until = self._known_until(self._clock.now(), self._feed.behind_s(self._monotonic_s()))
            keeper.close()
        return self._last_flush(known_until)

    def _step(self, keeper: FeedKeeper) -> None:
        # Read before the queue is: what came before `now` is stored when the link is confirmed up to `now`.
        now, monotonic_s = self._clock.now(), self._monotonic_s()
        behind_s = self._feed.behind_s(monotonic_s)
        self._link.behind = timedelta(seconds=behind_s)
        connection = keeper.check(monotonic_s)
        room = self._store.room()
        has_caught_up = len(self._queue) <= room
        self._take_events(keeper, room)
        if not has_caught_up:
            # This is no silence: what the feed says waits until it can be stored, and the link is not known
            # before ticks come as they are sent again.
            keeper.heard(monotonic_s)
            self._link_unknown_until_s = monotonic_s + SILENCE_S
        elif now is not None and monotonic_s >= self._link_unknown_until_s:
            self._link.check(connection, now, monotonic_s)
        self._hand_over_transitions()
        self._store.flush(now if has_caught_up else None, monotonic_s, self._known_until(now, behind_s))
        self._outside.round_done(
            self._monotonic_s(),
            self._link.state,
            self._heard_s,
            self._store.away_since_s(),
            len(self._queue) + self._store.in_memory(),
            behind_s,
            spool_is_full=self._store.spool_is_full(),
        )

    def _take_events(self, keeper: FeedKeeper | None, limit: int) -> None:
        events = self._queue.take(limit)
        self._outside.metrics.received.inc(sum(type(event) is Heard for event in events))
        results = self._interpreter.interpret(events)
        if keeper is not None and self._interpreter.live_heard_s is not None:
            self._heard_s = self._interpreter.live_heard_s
            keeper.heard(self._interpreter.live_heard_s)
            self._interpreter.live_heard_s = None
        self._store.add(results)
        self._store.add_lost(self._queue.take_dropped())

    def _hand_over_transitions(self) -> None:
        transitions = self._link.transitions()
        for transition in transitions:
            since = transition.at.isoformat(timespec="milliseconds")
            logger.info("link: %(state)s since %(since)s", {"state": transition.state, "since": since})
        self._store.add_transitions(transitions)

    def _known_until(self, now: datetime | None, behind_s: float) -> datetime | None:
        return None if now is None else self._clock.known_until(now, behind_s)

    def _last_flush(self, known_until: datetime | None) -> bool:
        """`known_until`: what was sent after it, while the feed was closed, nobody has heard."""
        now = self._clock.now()
        self._take_events(None, len(self._queue))
        self._hand_over_transitions()
        return self._store.finish(now, known_until)
