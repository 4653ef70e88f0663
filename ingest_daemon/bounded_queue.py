"""A queue between threads that never grows beyond its capacity; whoever puts chooses what that means.

`put` and `extend` never block: the oldest item goes, and is counted. `offer` takes only what fits, for those
that can wait with the rest.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from threading import Condition
from typing import Generic, TypeVar

T = TypeVar("T")


class BoundedQueue(Generic[T]):
    """First in, first out, for any number of threads."""

    def __init__(self, capacity: int) -> None:
        self._items: deque[T] = deque()
        self._capacity = capacity
        self._dropped = 0
        self._changed = Condition()

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: T) -> None:
        """Append; when full, the oldest item is dropped and counted."""
        with self._changed:
            self._append(item)

    def extend(self, items: Iterable[T]) -> None:
        """Append several; what does not fit pushes out the oldest, which are counted."""
        with self._changed:
            for item in items:
                self._append(item)

    def offer(self, items: Sequence[T]) -> int:
        """Append as many of the first items as there is room for; returns how many. Nothing is dropped."""
        with self._changed:
            room = max(self._capacity - len(self._items), 0)
            self._items.extend(items[:room])
            return min(room, len(items))

    def force(self, items: Sequence[T]) -> None:
        """Append all, even beyond the capacity: the last few of one that will put no more."""
        with self._changed:
            self._items.extend(items)

    def wait_for_room(self, timeout_s: float) -> bool:
        """Block until at least one item fits; False when none does after `timeout_s` seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: len(self._items) < self._capacity, timeout_s)

    def take(self, limit: int) -> list[T]:
        """Remove and return up to `limit` items, oldest first."""
        with self._changed:
            taken = [self._items.popleft() for _ in range(min(limit, len(self._items)))]
            self._changed.notify_all()
            return taken

    def take_dropped(self) -> int:
        """The number of items dropped since the last call."""
        with self._changed:
            dropped, self._dropped = self._dropped, 0
            return dropped

    def _append(self, item: T) -> None:
        if len(self._items) >= self._capacity:
            self._items.popleft()
            self._dropped += 1
        self._items.append(item)
