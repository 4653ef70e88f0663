"""What the parts of the station that have a story of their own have in common."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from typing import Protocol

from iss_simulator.feed import Update
from iss_simulator.truth import TrueEvent


class Story(Protocol):
    """A part of the station, told from its begin on as far as somebody asks; the same for the same arguments.

    The station adds what becomes of it on the way to the ground: a story knows nothing of lost signals, save
    where it says so in its truth.
    """

    @property
    def updates(self) -> Mapping[str, list[Update]]:
        """Per item what is said of it, in order of time; each item has an update within the first seconds."""
        ...

    @property
    def truth(self) -> list[TrueEvent]:
        """What really happens, in the order in which it became known."""
        ...

    def tell(self, until: datetime) -> None:
        """Go on at least until all updates up to that moment, and all truths that begin by it, are known."""
        ...


class PacedPart(Protocol):
    """A part of the station that speaks so much that it is made minute by minute: it can be asked for any
    minute at any time, and keeps nothing. Minutes have the numbers of `iss_simulator.minutes`."""

    @property
    def items(self) -> Collection[str]: ...

    def updates(self, bucket: int) -> list[Update]:
        """All updates of one minute, in order of time."""
        ...

    def thinned(self, bucket: int, keep_one_in: int, is_back: bool) -> list[Update]:
        """A sparse, true part of `updates`; `is_back` in the minutes after a loss of the signal."""
        ...

    def snapshot(self, at: datetime) -> Iterator[Update]:
        """The last update of each item before a moment."""
        ...

    def truth_between(self, since: datetime, until: datetime) -> list[TrueEvent]:
        """What really happens from `since` on and before `until`, in order of time."""
        ...
