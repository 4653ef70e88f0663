"""What really happened on the station against the events and posts that are stored.

A detector is not always right, even where nothing fails. So it is asked, too, what it finds on all that the
station has said, with only the station's own losses of signal: what it tells there and PeeBot has not stored
is missed, and what PeeBot has stored and it does not tell there is invented, wherever no fault has hidden
anything.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pandas as pd
import psycopg

from benchmarks.harness.soak_readings import Said, Stretch
from evaluation.matching import Matching, event_types_of, match
from evaluation.on_stations import TOLERANCE
from peebot_dagster.detectors.detector import DetectedEvent, Detector, LiveInterval, LostInterval, Window

AFTER_FAULT = timedelta(seconds=120)
"""What begins so soon after a fault may have begun in it."""
_EDGE = timedelta(seconds=15)
_LOSSES = ("los", "outage")
_EVENTS = """
SELECT e.event_id, e.detector, e.detector_version, e.event_type, coalesce(c.item_id, ''), e.started_at,
       e.ended_at, e.state, e.confidence, e.payload
FROM detected_event e LEFT JOIN telemetry_channel c USING (channel_id) WHERE e.state <> 'retracted'
"""
_POSTED = (
    "SELECT event_id, platform, state FROM post WHERE state IN ('sent', 'dry_run', 'claimed', 'unknown')"
)
_LEDGER = "SELECT concat_ws(': ', state, reason), count(*) FROM post GROUP BY 1 ORDER BY 1"


@dataclass(frozen=True)
class Happened:
    """A truth as the simulator has written it down."""

    kind: str
    onset: datetime
    ended_at: datetime
    masked: bool


@dataclass(frozen=True)
class EventsVerdict:
    """Counts of events. `true` happened in sight and are found on the unbroken feed; of what is hidden by
    faults or lost signals only doubles count. `astray` are posts of which ledger and timeline disagree."""

    true: int
    hidden: int
    stored: int
    missed: tuple[str, ...]
    invented: tuple[str, ...]
    doubled: tuple[str, ...]
    posted: int
    posted_twice: tuple[str, ...]
    astray: tuple[str, ...] = ()


def read_truth(path: Path) -> list[Happened]:
    """What the simulator has written down, in order of its begin."""
    happened = []
    for line in path.read_text(encoding="utf-8").splitlines():
        told = json.loads(line)
        onset = datetime.fromisoformat(told["first_step_at"] or told["started_at"])
        ended_at = datetime.fromisoformat(told["ended_at"])
        happened.append(Happened(told["kind"], onset, ended_at, told["masked"]))
    return sorted(happened, key=lambda event: event.onset)


def read_events(connection: psycopg.Connection) -> list[DetectedEvent]:
    """All events that are not retracted."""
    return [DetectedEvent(*row) for row in connection.execute(_EVENTS).fetchall()]


def read_posted(connection: psycopg.Connection) -> list[tuple[UUID, str, str]]:
    """Event, platform and state of what was posted, or may have been."""
    return connection.execute(_POSTED).fetchall()


def read_ledger(connection: psycopg.Connection) -> dict[str, int]:
    """How many rows of the ledger are in which state, and why."""
    return dict(connection.execute(_LEDGER).fetchall())


def hidden_by_faults(
    link: dict[str, list[Stretch]], truth: Iterable[Happened], since: datetime, until: datetime
) -> list[Stretch]:
    """When the link was not LIVE though the station spoke: by faults, then."""
    own = [Stretch(event.onset - _EDGE, event.ended_at + _EDGE) for event in truth if event.kind in _LOSSES]
    heard = sorted([*link["LIVE"], *own])
    hidden, reached = [], since
    for start, end in heard:
        if start > reached:
            hidden.append(Stretch(reached, min(start, until)))
        reached = max(reached, end)
        if reached >= until:
            return hidden
    return [*hidden, Stretch(reached, until)]


def unbroken(said: Sequence[Said], truth: Sequence[Happened], items: Sequence[str], end: datetime) -> Window:
    """What a listener without any fault would have of these items before `end`."""
    wanted = set(items)
    start = datetime.fromtimestamp(next(update.at for update in said if update.at), UTC)
    rows = sorted(
        (update.key for update in said if update.key[0] in wanted and update.key[1] < end),
        key=lambda key: key[1],
    )
    readings = pd.DataFrame(
        {
            "ts": pd.to_datetime([row[1] for row in rows], utc=True),
            "item": pd.Series([row[0] for row in rows], dtype="object"),
            "value": pd.Series([_number(row[2]) for row in rows], dtype="float64"),
            "status_class": pd.Series([row[3] for row in rows], dtype="Int64"),
        }
    )
    losses = [
        (event.kind, max(event.onset, start), min(event.ended_at, end))
        for event in truth
        if event.kind in _LOSSES and event.ended_at > start and event.onset < end
    ]
    live, reached = [], start
    for _, begin, over in losses:
        if begin > reached:
            live.append(LiveInterval(reached, begin))
        reached = max(reached, over)
    if end > reached:
        live.append(LiveInterval(reached, end))
    lost = tuple(LostInterval(begin, over) for kind, begin, over in losses if kind == "los")
    return Window(start, end, readings, tuple(live), lost)


def compare(
    detector: Detector,
    truth: Sequence[Happened],
    events: Sequence[DetectedEvent],
    ideal: Sequence[DetectedEvent],
    due: Sequence[DetectedEvent],
    hidden: Sequence[Stretch],
    span: Stretch,
) -> EventsVerdict:
    """One detector's events against the truth, and against what it finds on the unbroken feed: by the
    end (`ideal`), and so early that it must be stored by then (`due`).

    Only what begins in `span` counts, and ends in it where it is a truth.
    """
    own = [event for event in events if event.detector == detector.name]
    kinds = [event for event in truth if set(event_types_of(event.kind)) & set(detector.event_types)]
    found = match(kinds, own, TOLERANCE).within(*span)
    possible = match(kinds, due, TOLERANCE)
    findable = {id(pair.truth) for pair in possible.pairs}
    counted = [event for event in kinds if span.start <= event.onset and event.ended_at < span.end]
    in_sight = [event for event in counted if not event.masked and not _is_hidden(event, hidden)]
    required = {id(event) for event in in_sight} & findable
    missed = [event for event in found.missed if id(event) in required]
    told_ideally = match([_Told(event) for event in ideal], found.false, TOLERANCE)
    doubled = _doubled(found)
    invented = [
        event
        for event in told_ideally.false
        if event not in doubled and not _may_be_of_a_fault(event, hidden, span)
    ]
    return EventsVerdict(
        true=len(required),
        hidden=len(counted) - len(in_sight),
        stored=len(own),
        missed=tuple(f"{event.kind} at {event.onset:%T}" for event in missed if isinstance(event, Happened)),
        invented=tuple(_told(event) for event in invented),
        doubled=tuple(_told(event) for event in doubled),
        posted=0,
        posted_twice=(),
    )


def with_posts(
    verdict: EventsVerdict,
    truth: Sequence[Happened],
    events: Sequence[DetectedEvent],
    posted: Sequence[tuple[UUID, str, str]],
    asked: Sequence[str],
) -> EventsVerdict:
    """With what was posted twice: the same event on the same platform, or two events of one visit.

    `asked` are the events that the timeline was asked to post, as often as it was.
    """
    by_id = {event.event_id: event for event in events}
    twice = [
        f"{event} on {platform}" for (event, platform), n in Counter(p[:2] for p in posted).items() if n > 1
    ]
    twice += [f"{event} was sent {n} times" for event, n in Counter(asked).items() if n > 1]
    told = [by_id[event] for event, _, _ in posted if event in by_id]
    twice += [_told(event) for event in _doubled(match(truth, told, TOLERANCE))]
    known = {str(event) for event, _, _ in posted}
    sent = {str(event) for event, _, state in posted if state == "sent"}
    astray = [f"{event} came, and no row says that it was sent" for event in sorted({*asked} - known)]
    astray += [f"{event} never came, though its row says sent" for event in sorted(sent - {*asked})]
    return EventsVerdict(
        **{**vars(verdict), "posted": len(posted), "posted_twice": tuple(twice), "astray": tuple(astray)}
    )


def total(verdicts: Sequence[EventsVerdict]) -> EventsVerdict:
    """The sum over detectors."""

    def joined(name: str) -> tuple[str, ...]:
        return tuple(text for verdict in verdicts for text in getattr(verdict, name))

    return EventsVerdict(
        true=sum(verdict.true for verdict in verdicts),
        hidden=sum(verdict.hidden for verdict in verdicts),
        stored=sum(verdict.stored for verdict in verdicts),
        missed=joined("missed"),
        invented=joined("invented"),
        doubled=joined("doubled"),
        posted=0,
        posted_twice=(),
    )


@dataclass(frozen=True)
class _Told:
    """An event of the unbroken feed as a truth."""

    event: DetectedEvent

    @property
    def kind(self) -> str:
        return self.event.event_type

    @property
    def onset(self) -> datetime:
        return self.event.started_at


def _doubled(found: Matching) -> list[DetectedEvent]:
    """Events that would tell of a truth, had not another one done so."""
    return [
        event
        for event in found.false
        if any(
            event.event_type in event_types_of(pair.truth.kind)
            and _is_within(event.started_at, pair.truth, pair.event)
            for pair in found.pairs
        )
    ]


def _is_within(moment: datetime, truth: object, told: DetectedEvent) -> bool:
    end = getattr(truth, "ended_at", told.ended_at or told.started_at)
    onset: datetime = getattr(truth, "onset")  # noqa: B009  a Labelled
    return bool(onset - _EDGE <= moment <= end)


def _is_hidden(event: Happened, hidden: Iterable[Stretch]) -> bool:
    return any(start < event.ended_at + _EDGE and end > event.onset - _EDGE for start, end in hidden)


def _may_be_of_a_fault(event: DetectedEvent, hidden: Iterable[Stretch], span: Stretch) -> bool:
    last = event.ended_at or event.started_at
    return event.started_at < span.start + AFTER_FAULT or any(
        start - _EDGE < last and end + AFTER_FAULT > event.started_at for start, end in hidden
    )


def _told(event: DetectedEvent) -> str:
    return f"{event.event_type} at {event.started_at:%T}"


def _number(value: str) -> float:
    try:
        return float(value)
    except ValueError:
        return math.nan
