"""So many rejections per reason and minute, the rest is counted: no feed shall fill the disk. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from ingest_daemon.reading import Rejection

PER_MINUTE = 100
ONE_MICROSECOND = timedelta(microseconds=1)


@dataclass
class _Minute:
    start: datetime
    moments: set[datetime] = field(default_factory=set)
    suppressed: int = 0
    count: int = 0


class RejectionLimit:
    """Per reason code and minute of `received_at` the first `per_minute` pass; one row tells how many more.

    What passes has a `received_at` that no other of its reason has, moved by microseconds where need be: the
    store knows by it what it has stored already.
    """

    def __init__(self, per_minute: int = PER_MINUTE) -> None:
        self._per_minute = per_minute
        self._minutes: dict[str, _Minute] = {}

    def admit(self, rejections: Iterable[Rejection]) -> list[Rejection]:
        """Those that are to be stored, and the sums of minutes that are over."""
        admitted: list[Rejection] = []
        for rejection in rejections:
            start = _minute(rejection.received_at)
            minute = self._minutes.get(rejection.reason)
            if minute is None or minute.start != start:
                admitted += self._finish(rejection.reason)
                minute = self._minutes[rejection.reason] = _Minute(start)
            if len(minute.moments) < self._per_minute:
                admitted.append(_unique(rejection, minute.moments))
            else:
                minute.suppressed += 1
                count = rejection.fields.get("count")
                minute.count += count if isinstance(count, int) else 0
        return admitted

    def finished(self, now: datetime | None) -> list[Rejection]:
        """The sums of minutes that are over at `now`; of all when it is None."""
        over = [
            reason for reason, minute in self._minutes.items() if now is None or minute.start != _minute(now)
        ]
        return [rejection for reason in over for rejection in self._finish(reason)]

    def _finish(self, reason: str) -> list[Rejection]:
        minute = self._minutes.pop(reason, None)
        if minute is None or not minute.suppressed:
            return []
        fields = {"suppressed": minute.suppressed} | ({"count": minute.count} if minute.count else {})
        return [Rejection("*", fields, reason, minute.start)]


def _unique(rejection: Rejection, moments: set[datetime]) -> Rejection:
    moment = rejection.received_at
    while moment in moments:
        moment += ONE_MICROSECOND
    moments.add(moment)
    return rejection if moment is rejection.received_at else rejection._replace(received_at=moment)


def _minute(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(second=0, microsecond=0)
