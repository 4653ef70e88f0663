"""From one who knows to all who look: each viewer has the parts that changed, or is let go."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

VIEWERS = 200
BEHIND = 16
"""Messages that may wait for one viewer; one that is further behind is let go, and comes back by itself."""

Parts = Mapping[str, str]


class TooManyViewersError(Exception):
    """There are VIEWERS already."""


class Broadcast:
    """Keeps the parts as they are, and tells each viewer which have changed."""

    def __init__(self, parts: Parts) -> None:
        self._parts = dict(parts)
        self._viewers: set[asyncio.Queue[Parts | None]] = set()

    @property
    def parts(self) -> Parts:
        return self._parts

    def tell(self, parts: Parts) -> None:
        """Take new parts; what is as before is told to nobody."""
        changed = {name: html for name, html in parts.items() if self._parts.get(name) != html}
        if not changed:
            return
        self._parts |= changed
        for viewer in list(self._viewers):
            if viewer.qsize() >= BEHIND:
                self._let_go(viewer)
            else:
                viewer.put_nowait(changed)

    def end(self) -> None:
        """Let all viewers go."""
        for viewer in list(self._viewers):
            self._let_go(viewer)

    @contextmanager
    def viewer(self) -> Iterator[asyncio.Queue[Parts | None]]:
        """A viewer's queue: all parts at first, then what changes; None is the end."""
        if len(self._viewers) >= VIEWERS:
            raise TooManyViewersError
        queue: asyncio.Queue[Parts | None] = asyncio.Queue()
        queue.put_nowait(dict(self._parts))
        self._viewers.add(queue)
        try:
            yield queue
        finally:
            self._viewers.discard(queue)

    def _let_go(self, viewer: asyncio.Queue[Parts | None]) -> None:
        self._viewers.discard(viewer)
        viewer.put_nowait(None)
