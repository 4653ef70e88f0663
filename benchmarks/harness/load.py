"""The load: a numbered stream in which every update is unique, so that no loss goes unnoticed. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import md5


@dataclass(frozen=True, slots=True)
class Load:
    """What to send for `seconds`: `rate_per_s` updates a second, or as many as are taken.

    Without a rate, at most `in_flight` updates are on their way from the source to a committed row.
    """

    seconds: float
    rate_per_s: float | None = None
    in_flight: int = 0

    def due(self, elapsed_s: float, sent: int, committed: int) -> int:
        """How many updates are to be sent now."""
        if self.rate_per_s is not None:
            return int(self.rate_per_s * min(elapsed_s, self.seconds)) - sent
        return committed + self.in_flight - sent if elapsed_s < self.seconds else 0

    def is_over(self, elapsed_s: float) -> bool:
        """Whether nothing will be due any more."""
        return elapsed_s >= self.seconds


@dataclass(frozen=True, slots=True)
class Send:
    """Updates number `first` to `first + count - 1`, published at `ts_ms` (milliseconds since 1970, UTC)."""

    first: int
    count: int
    ts_ms: int


def item_of(number: int, items: Sequence[str]) -> str:
    """The channel of an update: one after the other."""
    return items[number % len(items)]


def value_of(number: int) -> str:
    """The value of an update as the feed sends it; `8 * float(value)` is its number again."""
    return repr(number / 8)


def checksum(sends: Iterable[Send], items: Sequence[str]) -> int:
    """The sum of all fingerprints; the order does not matter. SQL computes the same over the stored rows."""
    return sum(_fingerprints(sends, items))


def _fingerprints(sends: Iterable[Send], items: Sequence[str]) -> Iterator[int]:
    for send in sends:
        for number in range(send.first, send.first + send.count):
            text = f"{item_of(number, items)} {send.ts_ms} {value_of(number)}"
            yield int(md5(text.encode(), usedforsecurity=False).hexdigest()[:15], 16)
