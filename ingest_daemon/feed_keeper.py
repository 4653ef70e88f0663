"""Keeps a feed going: opens it again after an error that it can't overcome, or when it has gone deaf."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from ingest_daemon.backoff import Backoff
from ingest_daemon.feed import Feed
from ingest_daemon.link import Connection

SILENCE_S = 60.0
"""Seconds without any update, while connected, after which the feed is opened again; doubled each time."""
LONGEST_SILENCE_S = 960.0
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0
TEND_EVERY_S = 1.0

logger = logging.getLogger(__name__)


class FeedKeeper:
    """Watches one feed from outside; all times are seconds of a monotonic clock."""

    def __init__(
        self,
        feed: Feed,
        items: Sequence[str],
        watch_silence: bool,
        reconnected: Callable[[], None] = lambda: None,
    ) -> None:
        """`reconnected` is called for each connection after the first."""
        self._feed = feed
        self._items = items
        self._watch_silence = watch_silence
        self._backoff = Backoff(FIRST_PAUSE_S, LONGEST_PAUSE_S)
        self._reconnected = reconnected
        self._has_been_connected = False
        self._is_open = False
        self._logged: Connection | None = None
        self._silence_limit_s = SILENCE_S
        self._quiet_since_s = 0.0
        self._tended_s = 0.0

    def heard(self, monotonic_s: float) -> None:
        """A live update has come (a snapshot is none: it comes from a deaf server, too)."""
        # It may have waited long to be taken from the queue.
        self._quiet_since_s = max(self._quiet_since_s, monotonic_s)
        self._silence_limit_s = SILENCE_S
        self._backoff.succeeded()

    def check(self, monotonic_s: float) -> Connection:
        """Do what has to be done; returns how the connection is."""
        if not self._is_open:
            if self._backoff.due(monotonic_s):
                self._open(monotonic_s)
            return Connection.DISCONNECTED
        connection = self._feed.connection()
        self._log_change(connection)
        if connection is Connection.FAILED:
            pause_s = self._backoff.failed(monotonic_s)
            logger.warning(
                "the feed has ended: %(feed)s; trying again in %(pause_s).0f s",
                {"feed": self._feed.describe(), "pause_s": pause_s},
            )
            self._close()
        elif connection is Connection.DISCONNECTED:
            self._quiet_since_s = monotonic_s
        else:
            self._check_connected(monotonic_s)
        return connection

    def close(self) -> None:
        """Close the feed for good."""
        self._close()

    def _check_connected(self, monotonic_s: float) -> None:
        quiet_s = monotonic_s - self._quiet_since_s
        if self._watch_silence and quiet_s > self._silence_limit_s:
            self._silence_limit_s = min(2 * self._silence_limit_s, LONGEST_SILENCE_S)
            logger.warning(
                "connected, but no update for %(quiet_s).0f s: opening the feed again", {"quiet_s": quiet_s}
            )
            self._close()
            self._open(monotonic_s)
        elif monotonic_s - self._tended_s >= TEND_EVERY_S:
            self._tended_s = monotonic_s
            self._feed.tend()

    def _open(self, monotonic_s: float) -> None:
        self._quiet_since_s = monotonic_s
        if self._logged is Connection.CONNECTED:
            self._logged = None
        self._feed.open(self._items)
        self._is_open = True

    def _close(self) -> None:
        if self._is_open:
            self._feed.close()
            self._is_open = False

    def _log_change(self, connection: Connection) -> None:
        # Not the feed's own words: while the server is away they change every few seconds.
        if connection is self._logged:
            return
        self._logged = connection
        logger.info(
            "feed: %(connection)s (%(feed)s)",
            {"connection": connection.value, "feed": self._feed.describe()},
        )
        if connection is Connection.CONNECTED:
            if self._has_been_connected:
                self._reconnected()
            self._has_been_connected = True
