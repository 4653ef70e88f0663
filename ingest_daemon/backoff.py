"""When to try again after a failure: soon at first, then ever later."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Backoff:
    """Doubling pauses from `first_s` to `longest_s` (seconds on a monotonic clock that the caller reads)."""

    first_s: float
    longest_s: float
    _pause_s: float = 0.0
    _not_before_s: float = float("-inf")

    def due(self, monotonic_s: float) -> bool:
        """Whether the next attempt may be made now."""
        return monotonic_s >= self._not_before_s

    def failed(self, monotonic_s: float) -> float:
        """Note a failed attempt; returns the pause before the next one in seconds."""
        self._pause_s = min(max(2 * self._pause_s, self.first_s), self.longest_s)
        self._not_before_s = monotonic_s + self._pause_s
        return self._pause_s

    def succeeded(self) -> None:
        """Begin with the shortest pause again."""
        self._pause_s = 0.0
        self._not_before_s = float("-inf")
