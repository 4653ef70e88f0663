"""The looks that have begun and not ended. A detector that never returns is then known to the next tick."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime


class UnderWay:
    """When each detector's look began (UTC), for all ticks of one process; they run in threads of it.

    Nobody can end a thread that hangs, so a detector whose look is under way is not called again before this
    one returns, or the process is another one.
    """

    def __init__(self) -> None:
        self._since: dict[str, datetime] = {}
        self._lock = threading.Lock()

    @contextmanager
    def alone(self, detector: str, now: datetime) -> Iterator[None]:
        """For the time of a look that begins at `now` (UTC). TimeoutError while an earlier one goes on."""
        with self._lock:
            since = self._since.get(detector)
            if since is not None:
                raise TimeoutError(f"the look that began at {since:%Y-%m-%d %H:%M:%S} UTC has not returned")
            self._since[detector] = now
        try:
            yield
        finally:
            with self._lock:
                del self._since[detector]
