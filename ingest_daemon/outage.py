"""What an absent database does to the one who needs it: when to try again, and what the log says of it."""

from __future__ import annotations

import logging

import psycopg

from ingest_daemon.backoff import Backoff

FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 5.0
COMPLAIN_EVERY_S = 60.0

AWAY = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    psycopg.InternalError,
    psycopg.ProgrammingError,
    psycopg.NotSupportedError,
)
"""A refused row is no reason to wait for the database; everything else is, even a missing schema or grant."""

logger = logging.getLogger(__name__)


class Outage:
    """Patience with a database; all times are seconds of a monotonic clock."""

    def __init__(self) -> None:
        self.since_s: float | None = None
        """Since when the database can't be used; None when it can, as far as is known."""
        self._backoff = Backoff(FIRST_PAUSE_S, LONGEST_PAUSE_S)
        self._failures = 0
        self._complaint = ""
        self._complain_again_s = 0.0

    def may_try(self, monotonic_s: float) -> bool:
        """Whether the next attempt may be made now."""
        return self._backoff.due(monotonic_s)

    def failed(self, error: Exception, waiting: str, monotonic_s: float) -> float:
        """Note a failed attempt; `waiting` tells the log what waits. Returns the pause until the next (s)."""
        pause_s = self._backoff.failed(monotonic_s)
        self._failures += 1
        if self.since_s is None:
            self.since_s = monotonic_s
        # While it lasts, one line a minute.
        if self._complaint != (complaint := one_line(error)) or monotonic_s >= self._complain_again_s:
            self._complaint, self._complain_again_s = complaint, monotonic_s + COMPLAIN_EVERY_S
            is_away = isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
            logger.warning(
                "database %(trouble)s: %(error)s; %(waiting)s; trying again in %(pause_s).1f s",
                {
                    "trouble": "away" if is_away else "not usable (is it migrated?)",
                    "error": complaint,
                    "waiting": waiting,
                    "pause_s": pause_s,
                },
            )
        return pause_s

    def is_over(self) -> None:
        """Note that the database can be used."""
        if self._failures:
            logger.info(
                "the database is back after %(failures)d failed attempts", {"failures": self._failures}
            )
        self.since_s = None
        self._failures = 0
        self._complaint = ""
        self._backoff.succeeded()


def one_line(error: Exception) -> str:
    """The error's message for a log."""
    return " ".join(str(error).split()) or type(error).__name__
