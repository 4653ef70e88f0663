"""Which channels this daemon listens to: all of the catalogue, or the slice that it was given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from ingest_daemon.link import CLOCK_ITEM

_WILD = frozenset("*?[")


class NoSuchChannelError(ValueError):
    """A pattern matches no channel of the catalogue."""


@dataclass(frozen=True)
class ChannelSlice:
    """Items and glob patterns, as in NODE3*; without any, everything. The station's clock is always in it."""

    patterns: tuple[str, ...] = ()

    @classmethod
    def read(cls, text: str) -> ChannelSlice:
        """From a comma-separated list."""
        return cls(tuple(pattern for part in text.split(",") if (pattern := part.strip())))

    def items(self, catalogue: Sequence[str]) -> list[str]:
        """The items to subscribe, in the catalogue's order; raises NoSuchChannelError.

        An item that is named in full need not be in the catalogue: the feed may know it already.
        """
        if not self.patterns:
            return list(catalogue)
        for pattern in self.patterns:
            if _WILD & set(pattern) and not any(fnmatchcase(item, pattern) for item in catalogue):
                raise NoSuchChannelError(f"--channels: no channel of the catalogue matches {pattern}")
        chosen = [
            item
            for item in catalogue
            if item == CLOCK_ITEM or any(fnmatchcase(item, pattern) for pattern in self.patterns)
        ]
        named = [pattern for pattern in self.patterns if not _WILD & set(pattern)]
        return list(dict.fromkeys([*chosen, *named, CLOCK_ITEM]))
