"""What the feed heard, in the daemon's terms: readings, rejections, and what they say about the link."""

from __future__ import annotations

from collections.abc import Iterable

from ingest_daemon.clock import Clock
from ingest_daemon.feed import ClientOverflow, FeedEvent, Heard, LineRejected, SessionLost, UpdatesLost
from ingest_daemon.link import CLOCK_ITEM, Link
from ingest_daemon.reading import Reading, Rejection, parse, storable


class Interpreter:
    """For one thread; batches come in the order in which they were heard."""

    def __init__(self, clock: Clock, link: Link) -> None:
        self._clock = clock
        self._link = link
        self.live_heard_s: float | None = None
        """The monotonic clock at the arrival of the newest update that was no snapshot."""

    def interpret(self, events: Iterable[FeedEvent]) -> list[Reading | Rejection]:
        """What is to be stored of these events; the link is told what they mean for it."""
        results: list[Reading | Rejection] = []
        last: Reading | Rejection | None = None
        for event in events:
            if isinstance(event, Heard):
                last = self._reading(event)
                results.append(last)
                continue
            self._tell_link(last)
            last = None
            match event:
                case SessionLost():
                    self._link.session_lost()
                case UpdatesLost(item, count, heard_at):
                    received_at = self._clock.received(heard_at)
                    results.append(Rejection(item, {"count": count}, "lost_by_server", received_at))
                case LineRejected(text, reason, heard_at):
                    fields = {"line": storable(text)}
                    results.append(Rejection("*", fields, reason, self._clock.received(heard_at)))
                case ClientOverflow():
                    results.append(self._overflow(event))
        self._tell_link(last)
        return results

    def _overflow(self, event: ClientOverflow) -> Rejection:
        seconds = round((event.received_at - event.since).total_seconds(), 1)
        if self._clock.now() is not None:
            self._link.lost_since(self._clock.received(event.since))
        return Rejection(
            "*",
            {"count": event.count, "seconds": seconds, "since": event.since.isoformat()},
            "client_overflow",
            self._clock.received(event.received_at),
        )

    def _reading(self, heard: Heard) -> Reading | Rejection:
        update, monotonic_s = heard
        heard_at = update.received_at
        reference = self._clock.dating_reference(heard_at)
        result = parse(update if reference is heard_at else update._replace(received_at=reference))
        if isinstance(result, Reading):
            self._clock.observe(result)
        received_at = self._clock.received(heard_at)
        if received_at is not result.received_at:
            result = result._replace(received_at=received_at)
        if not update.is_snapshot:
            self.live_heard_s = monotonic_s
        if result.item == CLOCK_ITEM and isinstance(result, Reading) and self._clock.now() is not None:
            self._link.tick(result, received_at, monotonic_s)
        return result

    def _tell_link(self, last: Reading | Rejection | None) -> None:
        # Once for many updates: only the last one's time matters.
        if last is not None and self._clock.now() is not None:
            self._link.heard(last.received_at)
