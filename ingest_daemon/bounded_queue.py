"""A queue between threads that never grows beyond its capacity: the oldest goes first, and is counted."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from threading import Lock
from typing import Generic, TypeVar

T = TypeVar("T")


class BoundedQueue(Generic[T]):
    """First in, first out, for any number of threads; nothing blocks."""

    def __init__(self, capacity: int) -> None:
        self._items: deque[T] = deque()
        self._capacity = capacity
        self._dropped = 0
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: T) -> None:
        """Append; when full, the oldest item is dropped and counted."""
        with self._lock:
            self._append(item)

    def extend(self, items: Iterable[T]) -> None:
        """Append several."""
        with self._lock:
            for item in items:
                self._append(item)

    def take(self, limit: int) -> list[T]:
        """Remove and return up to `limit` items, oldest first."""
        with self._lock:
            return [self._items.popleft() for _ in range(min(limit, len(self._items)))]

    def put_back(self, items: list[T]) -> None:
        """Return items just taken to the front; the oldest that do not fit are dropped and counted."""
        with self._lock:
            room = max(self._capacity - len(self._items), 0)
            self._dropped += max(len(items) - room, 0)
            self._items.extendleft(reversed(items[max(len(items) - room, 0) :]))

    def take_dropped(self) -> int:
        """The number of items dropped since the last call."""
        with self._lock:
            dropped, self._dropped = self._dropped, 0
            return dropped

    def _append(self, item: T) -> None:
        if len(self._items) >= self._capacity:
            self._items.popleft()
            self._dropped += 1
        self._items.append(item)
