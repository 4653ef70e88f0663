"""What live detection has to look at now, and when time alone gives it a reason to look again.

A look is a detection over the hours in which something that the detector reads has changed. What it has seen
is remembered per hour (detector_look) until the hour is settled: then nothing short of new telemetry changes
its events, and processor_revision says so. No Dagster; the clock is passed in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import psycopg

from peebot_dagster.detection import DetectionResult, known_time
from peebot_dagster.detectors.detector import Detector, state_items
from peebot_dagster.states import PATIENCE, QUICKEST, States
from peebot_dagster.store import HOUR, hour_of

UNHURRIED = timedelta(minutes=5)
"""How often the newest hour is looked at, at least, although nothing that the detector reads has changed."""

AFTER_NEWS = 12
"""Until then, it is looked at again after this part of the time since something has: a state counts once it
has held for a minute, say, and no reading comes to tell of that. A detector without a trigger interval tells
of such things by an open event."""

SETTLE_EVERY = timedelta(minutes=1)
"""How often hours are settled when there is no other reason to look."""

HOURS_PER_LOOK = 72
"""Bounds a look; after a long replay the rest follows in the next ones, the newest first."""


LATELY = timedelta(days=7)
"""Only hours that were stored to so recently are live detection's; longer than any detector settles.

Each hour of history has a row for ever: to compare them all in each look would take seconds in some years.
What is older and not settled, as for a new detector, is for the schedule `hourly_assets`.
"""


@dataclass(frozen=True)
class Look:
    """What a detector has seen of an hour: its revisions then, when that was, and since when its own has been
    the same (UTC)."""

    revision: int
    own_revision: int
    looked_at: datetime
    news_at: datetime


@dataclass(frozen=True)
class StaleHour:
    """An hour (UTC) that is not settled for a detector.

    `own_revision` grows with each reading of the detector's channels and each change of the link; None when
    it was not counted. `settles`: a detection would settle it now.
    """

    hour: datetime
    own_revision: int | None
    settles: bool
    look: Look | None


@dataclass(frozen=True)
class OpenEvent:
    """An event that may still change: when it started, and when it last changed (UTC)."""

    started_at: datetime
    changed_at: datetime


@dataclass(frozen=True)
class Agenda:
    """The hours (UTC, newest first) to look at now, and when to ask again if nothing new is stored.

    `complete`: no more than these are due. `resting`: the detector does not want to look yet.
    """

    hours: tuple[datetime, ...]
    again_at: datetime
    complete: bool = True
    resting: bool = False


def agenda(
    detector: Detector,
    stale: Sequence[StaleHour],
    still_open: Iterable[OpenEvent],
    now: datetime,
    rest: timedelta,
) -> Agenda:
    """What the detector has to look at, at `now` (UTC), of its stale hours (newest first).

    `rest`: how long it rests after its last look.
    """
    last_look = _last_look(stale)
    if last_look is not None and now < last_look + rest:
        return Agenda((), last_look + rest, resting=True)
    due = {hour.hour for hour in stale if hour.look is None or _has_news(hour.look, hour.own_revision)}
    looks = {hour.hour: hour.look for hour in stale}
    moments = [now + UNHURRIED]
    for hour, pace in _paces(detector, stale, still_open, now, rest):
        look = looks[hour]
        if look is None or look.looked_at + pace <= now:
            due.add(hour)
        else:
            moments.append(look.looked_at + pace)
    settling = {hour.hour for hour in stale if hour.settles}
    if due or last_look is None or last_look + SETTLE_EVERY <= now:
        due |= settling
    elif settling:
        moments.append(last_look + SETTLE_EVERY)
    hours = sorted(due, reverse=True)
    return Agenda(tuple(hours[:HOURS_PER_LOOK]), min(moments), complete=len(hours) <= HOURS_PER_LOOK)


def _last_look(hours: Iterable[StaleHour | _Row]) -> datetime | None:
    return max((hour.look.looked_at for hour in hours if hour.look), default=None)


def _has_news(look: Look, own_revision: int | None) -> bool:
    return own_revision is not None and own_revision != look.own_revision


def _paces(
    detector: Detector,
    stale: Sequence[StaleHour],
    still_open: Iterable[OpenEvent],
    now: datetime,
    rest: timedelta,
) -> Iterable[tuple[datetime, timedelta]]:
    """The hours whose events time alone may change, and how often to look at each of them."""
    hours = {hour.hour for hour in stale}
    for event in still_open:
        if hour_of(event.started_at) in hours:
            yield hour_of(event.started_at), max(QUICKEST, (now - event.changed_at) / PATIENCE)
    # An hour of tomorrow is there by a wrong stamp.
    newest = next((hour.hour for hour in stale if hour.hour <= now), None)
    if newest is not None:
        yield newest, _pace_of_newest(detector, stale, now, rest)


def _pace_of_newest(
    detector: Detector, stale: Sequence[StaleHour], now: datetime, rest: timedelta
) -> timedelta:
    news_at = max((hour.look.news_at for hour in stale if hour.look), default=None)
    if news_at is None or not detector.trigger_interval:
        return UNHURRIED
    if rest < detector.trigger_interval:
        return rest
    return min(UNHURRIED, max(rest, (now - news_at) / AFTER_NEWS))


class Looks:
    """The looks of some detectors in the store, and the states that hurry them."""

    def __init__(self, connection: psycopg.Connection, detectors: Sequence[Detector], states: States) -> None:
        self._connection = connection
        self._detectors = detectors
        self._states = states
        self._seen: dict[tuple[str, datetime], tuple[int, int]] = {}
        items = sorted({item for detector in detectors for item in detector.items})
        self._channels: dict[str, int] = dict(
            connection.execute(
                "SELECT item_id, channel_id FROM telemetry_channel WHERE item_id = ANY(%s)", (items,)
            ).fetchall()
        )
        connection.commit()

    def channels(self, detector: Detector) -> frozenset[int]:
        """The ids of the detector's channels, as far as they are known."""
        return self._ids(detector.items)

    def waking(self, detector: Detector, resting: bool) -> frozenset[int]:
        """The ids of the channels that the detector is to be woken for: while it rests, only its states."""
        return self._ids(state_items(detector) if resting else detector.items)

    def _ids(self, items: Iterable[str]) -> frozenset[int]:
        return frozenset(self._channels[item] for item in items if item in self._channels)

    def agendas(self, now: datetime) -> Mapping[str, Agenda]:
        """The agenda of each detector by its name, at `now` (UTC)."""
        names = [detector.name for detector in self._detectors]
        rows = self._connection.execute(_STALE_HOURS, {"detectors": names, "since": now - LATELY}).fetchall()
        known = known_time(self._connection)
        self._states.observe(self._connection, now)
        still_open: dict[str, list[OpenEvent]] = {name: [] for name in names}
        for name, started_at, changed_at in self._connection.execute(_OPEN_EVENTS, (names,)):
            still_open[name].append(OpenEvent(started_at, changed_at))
        self._seen.clear()
        found: dict[str, Agenda] = {}
        for detector in self._detectors:
            mine = [_Row(*row[1:]) for row in rows if row[0] == detector.name]
            last_look = _last_look(mine) or datetime.min.replace(tzinfo=UTC)
            rest = self._states.rest(detector, last_look)
            own = {} if now < last_look + rest else self._own_revisions(detector, mine)
            stale = [
                StaleHour(row.hour, own.get(row.hour), known.settles(detector, row.hour), row.look)
                for row in mine
            ]
            found[detector.name] = agenda(detector, stale, still_open[detector.name], now, rest)
            for row in mine:
                if row.hour in own:
                    self._seen[detector.name, row.hour] = row.revision, own[row.hour]
        self._connection.commit()
        return found

    def record(
        self, detector: Detector, hours: Iterable[datetime], result: DetectionResult, now: datetime
    ) -> None:
        """Remember that the detector has looked at these hours at `now` (UTC), as `agendas` found them."""
        settled, seen = [], []
        for hour in hours:
            if hour + HOUR + detector.settle <= result.watermark:
                settled.append(hour)
            elif (detector.name, hour) in self._seen:
                seen.append((hour, *self._seen[detector.name, hour]))
        with self._connection.transaction():
            self._connection.execute(_FORGET, (detector.name, settled))
            if seen:
                hours_seen, revisions, own_revisions = (list(column) for column in zip(*seen, strict=True))
                self._connection.execute(
                    _REMEMBER,
                    {
                        "detector": detector.name,
                        "now": now,
                        "hours": hours_seen,
                        "revisions": revisions,
                        "own_revisions": own_revisions,
                    },
                )

    def _own_revisions(self, detector: Detector, stale: Sequence[_Row]) -> dict[datetime, int]:
        own = {
            row.hour: row.look.own_revision
            for row in stale
            if row.look is not None and row.look.revision == row.revision
        }
        # As far as they can be looked at now.
        changed = [row for row in stale if row.hour not in own][: 2 * HOURS_PER_LOOK]
        readings: dict[datetime, int] = dict(
            self._connection.execute(
                _OWN_READINGS,
                {"hours": [row.hour for row in changed], "channels": list(self.channels(detector))},
            ).fetchall()
        )
        return own | {row.hour: readings[row.hour] + row.link_changes for row in changed}


@dataclass(frozen=True)
class _Row:
    hour: datetime
    revision: int
    link_changes: int
    seen: int | None
    own_seen: int | None
    looked_at: datetime | None
    news_at: datetime | None

    @property
    def look(self) -> Look | None:
        if self.seen is None or self.own_seen is None or self.looked_at is None or self.news_at is None:
            return None
        return Look(self.seen, self.own_seen, self.looked_at, self.news_at)


# revision - readings are the changes of the link: a reading raises both, a change of the link only the first.
_STALE_HOURS = """
SELECT d.name, r.hour, r.revision, r.revision - r.readings, l.revision, l.own_revision, l.looked_at,
    l.news_at
FROM unnest(%(detectors)s::text[]) AS d (name)
CROSS JOIN telemetry_revision r
LEFT JOIN processor_revision p ON p.processor = d.name AND p.hour = r.hour
LEFT JOIN detector_look l ON l.detector = d.name AND l.hour = r.hour
WHERE r.updated_at > %(since)s AND r.revision <> coalesce(p.revision, 0)
ORDER BY r.hour DESC
"""
_OPEN_EVENTS = """
SELECT detector, started_at, updated_at FROM detected_event WHERE state = 'open' AND detector = ANY(%s)
"""
_OWN_READINGS = """
SELECT hour, (
    SELECT count(*) FROM telemetry_reading r
    WHERE r.channel_id = ANY(%(channels)s::smallint[]) AND r.ts >= hour AND r.ts < hour + interval '1 hour'
) FROM unnest(%(hours)s::timestamptz[]) AS hour
"""
_FORGET = "DELETE FROM detector_look WHERE detector = %s AND hour = ANY(%s::timestamptz[])"
_REMEMBER = """
INSERT INTO detector_look AS known (detector, looked_at, hour, revision, own_revision, news_at)
SELECT %(detector)s, %(now)s, *, %(now)s
FROM unnest(%(hours)s::timestamptz[], %(revisions)s::bigint[], %(own_revisions)s::bigint[])
ON CONFLICT (detector, hour) DO UPDATE SET
    revision = excluded.revision, own_revision = excluded.own_revision, looked_at = excluded.looked_at,
    news_at = CASE known.own_revision WHEN excluded.own_revision THEN known.news_at ELSE excluded.news_at END
"""
