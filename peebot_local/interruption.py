"""Ctrl-C and SIGTERM as one exception, raised where it does no harm."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopRequested(BaseException):
    """The user or the system asks the runner to stop; no `except Exception` holds it up."""


class StopSignals:
    """While active, the first signal raises StopRequested in the main thread; further ones are ignored."""

    def __init__(self) -> None:
        self._requested = False
        self._deferred = False

    @contextmanager
    def active(self) -> Iterator[None]:
        before = {number: signal.signal(number, self._handle) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._requested:
            return
        self._requested = True
        if not self._deferred:
            raise StopRequested

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Hold a signal back until the block has ended, so that no child is started and then forgotten."""
        requested_before, deferred_before = self._requested, self._deferred
        self._deferred = True
        try:
            yield
        finally:
            self._deferred = deferred_before
        if self._requested and not requested_before and not deferred_before:
            raise StopRequested
