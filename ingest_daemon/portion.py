"""What the daemon hands to the database at once, and its form in the spool. Pure."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from ingest_daemon.link import LinkState, Transition
from ingest_daemon.reading import Reading, Rejection

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class PortionError(ValueError):
    """Bytes that hold no portion."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Which run of which daemon heard it. `continues`: the run has told a transition of the link before."""

    run: str
    source: str
    continues: bool


@dataclass(frozen=True, slots=True)
class Portion:
    """Updates, then at most one transition of the link, then until when (UTC) the link is confirmed.

    To store a portion again changes nothing, as long as no later one was stored in between.
    """

    origin: Origin
    readings: Sequence[Reading] = ()
    rejections: Sequence[Rejection] = ()
    transition: Transition | None = None
    seen_at: datetime | None = None

    @property
    def updates(self) -> int:
        """How many updates it holds."""
        return len(self.readings) + len(self.rejections)


def first_joined(portions: Iterable[Portion], limit: int) -> tuple[Portion, int]:
    """The first portions as one of at most `limit` updates, and how many they are; at least one."""
    source: Iterator[Portion] = iter(portions)
    first = next(source)
    readings, rejections = list(first.readings), list(first.rejections)
    transition, seen_at, count = first.transition, first.seen_at, 1
    for portion in source:
        if (
            transition is not None
            or (portion.transition is not None and seen_at is not None)
            or portion.origin.run != first.origin.run
            or len(readings) + len(rejections) + portion.updates > limit
        ):
            break
        readings += portion.readings
        rejections += portion.rejections
        transition, seen_at = portion.transition, portion.seen_at or seen_at
        count += 1
    return Portion(first.origin, readings, rejections, transition, seen_at), count


def encode(portion: Portion) -> bytes:
    """Bytes from which `decode` makes an equal portion."""
    origin = portion.origin
    document = {
        "origin": [origin.run, origin.source, origin.continues],
        "readings": [
            [
                r.item,
                _microseconds(r.ts),
                _microseconds(r.received_at),
                r.value,
                r.raw_value,
                r.status_class,
                r.is_snapshot,
                r.event_id,
            ]
            for r in portion.readings
        ],
        "rejections": [
            [r.item, dict(r.fields), r.reason, _microseconds(r.received_at)] for r in portion.rejections
        ],
        "transition": portion.transition
        and [portion.transition.state.value, _microseconds(portion.transition.at)],
        "seen_at": portion.seen_at and _microseconds(portion.seen_at),
    }
    return zlib.compress(json.dumps(document, separators=(",", ":")).encode(), level=1)


def decode(data: bytes) -> Portion:
    """The inverse of `encode`; raises PortionError."""
    try:
        document = json.loads(zlib.decompress(data))
        run, source, continues = document["origin"]
        transition, seen_at = document["transition"], document["seen_at"]
        return Portion(
            Origin(run, source, continues),
            [
                Reading(item, _moment(ts), _moment(received_at), value, raw, status, snapshot, event_id)
                for item, ts, received_at, value, raw, status, snapshot, event_id in document["readings"]
            ],
            [
                Rejection(item, fields, reason, _moment(received_at))
                for item, fields, reason, received_at in document["rejections"]
            ],
            transition and Transition(LinkState(transition[0]), _moment(transition[1])),
            None if seen_at is None else _moment(seen_at),
        )
    except (zlib.error, ValueError, KeyError, TypeError, OverflowError) as error:
        raise PortionError(f"no portion of ours: {error}") from error


def _microseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND


def _moment(microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds)
