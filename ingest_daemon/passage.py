"""How far a client is that hands over through queues of its own, and whether it must be closed. Pure.

Marks go the way of the updates: what came before a mark has passed when the mark has.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

LIMIT_S = 5.0
"""Seconds that an update may wait inside the client: what waits there is neither bounded nor kept."""
PATIENCE_S = 1.0
"""For how long it must have been too many: a process that was stopped has caught up by then."""
NOTABLE_S = 1.0
"""Seconds of waiting from which on to close the client loses more than what just arrives."""


class Mark(NamedTuple):
    """When it was sent (monotonic clock, s), and how many lines had entered by then."""

    sent_s: float
    entered: int


@dataclass(frozen=True, slots=True)
class Position:
    """All that had entered with or before `mark` has left, and `left` had left when that was known."""

    mark: Mark
    left: int


class Passage:
    """One thread sends marks and asks; `entered` and `left` are each counted by one thread of the client."""

    def __init__(self) -> None:
        self.entered = 0
        """Lines that the client has read."""
        self.left = 0
        """Updates that it has delivered."""
        self._under_way: deque[Mark] = deque()
        self._position: Position | None = None

    def send(self, monotonic_s: float) -> Mark:
        """A mark to be sent after all that the client has read."""
        if self._position is None:
            self._position = Position(Mark(monotonic_s, 0), 0)
        mark = Mark(monotonic_s, self.entered)
        self._under_way.append(mark)
        return mark

    def passed(self, mark: Mark) -> None:
        """A mark has come out; marks come out in their order."""
        self._position = Position(mark, self.left)
        self._under_way.popleft()

    def position(self) -> Position | None:
        """Up to where everything has come out; None before the first mark."""
        return self._position

    def behind_s(self, monotonic_s: float) -> float:
        """All that the client has read before so many seconds has come out; what came later may not have."""
        return 0.0 if self._position is None else max(monotonic_s - self._position.mark.sent_s, 0.0)

    def waited_s(self, monotonic_s: float) -> float:
        """For how long what is to come out next has waited, at least; 0 when nothing is known to wait."""
        try:
            return monotonic_s - self._under_way[0].sent_s
        except IndexError:  # taken out meanwhile, by the library's thread
            return 0.0

    def missing_since(self, position: Position) -> int:
        """How many lines have entered, and not left, since then."""
        return max(self.entered - position.mark.entered - (self.left - position.left), 0)


class Overload:
    """Decides when a client is hopelessly behind."""

    def __init__(self) -> None:
        self._since_s: float | None = None

    def is_over(self, waited_s: float, monotonic_s: float) -> bool:
        """Whether updates have waited for too long, and not only at this moment."""
        if waited_s <= LIMIT_S:
            self._since_s = None
            return False
        if self._since_s is None:
            self._since_s = monotonic_s
        return monotonic_s - self._since_s >= PATIENCE_S
