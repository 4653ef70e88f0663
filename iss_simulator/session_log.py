"""The counted lines of one session, kept for exact recovery."""

from __future__ import annotations


class SessionLog:
    """Data lines in order, numbered from the session's start; every connection is a writer over this log."""

    def __init__(self, keep: int) -> None:
        """Keep at least the last `keep` lines that were sent."""
        self._keep = keep
        self._first = 0
        self._lines: list[str] = []
        self._sent = 0

    def append(self, line: str) -> None:
        """Add a line to be sent."""
        self._lines.append(line)

    def take(self, limit: int) -> list[str]:
        """The next lines to send, at most `limit`; they count as sent."""
        start = self._sent - self._first
        lines = self._lines[start : start + limit]
        self._sent += len(lines)
        surplus = self._sent - self._first - self._keep
        if surplus > self._keep:
            del self._lines[:surplus]
            self._first += surplus
        return lines

    def rewind(self, received: int) -> bool:
        """Go on after the line number `received`; False if that point is not kept (or never was)."""
        if not self._first <= received <= self._sent:
            return False
        self._sent = received
        return True

    @property
    def unsent(self) -> int:
        """How many lines wait to be sent."""
        return self._first + len(self._lines) - self._sent
