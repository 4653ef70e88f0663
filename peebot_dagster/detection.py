"""Where the pure detectors meet the store: detect over a window, store. No Dagster, no clock.

The live sensor, the backfill and the command line all go through `detect_span`: they give the same events.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

import psycopg
from psycopg.types.json import Jsonb

from peebot_dagster.detectors.detector import DetectedEvent, Detector
from peebot_dagster.dropped_days import sealed
from peebot_dagster.link import listening
from peebot_dagster.store import (
    HOUR,
    hour_of,
    lock_processor,
    mark_processed,
    revisions,
    stale_hours,
)
from peebot_dagster.window import load_window

__all__ = [
    "DetectionResult",
    "KnownTime",
    "detect_span",
    "detectors_run_since",
    "known_time",
    "last_error",
    "load_window",
    "overdue_hours",
    "record_failure",
    "stale_hours",
]


LONGEST_DETECTION = timedelta(minutes=5)
"""A detector that takes longer hangs: the server ends its transaction, whose locks would keep the daemon from
adding the next day's chunk."""


@dataclass(frozen=True)
class DetectionResult:
    """What a detection changed in the store, and all events (none retracted) that start in the span.

    `changed_hours` (UTC, sorted) are the hours in which something was new, updated or retracted.
    """

    new: tuple[DetectedEvent, ...]
    updated: tuple[DetectedEvent, ...]
    retracted: tuple[UUID, ...]
    events: tuple[DetectedEvent, ...]
    changed_hours: tuple[datetime, ...]
    watermark: datetime


def detect_span(
    connection: psycopg.Connection, detector: Detector, start: datetime, end: datetime
) -> DetectionResult:
    """Bring detected_event in line with the telemetry of [start, end) (UTC) in one transaction.

    That telemetry bears on events that start up to `settle` earlier and up to `look_back` later; those are
    computed too. An hour counts as processed once the watermark has passed it by `settle`: until then time
    alone may change its events. Events that rest on dropped telemetry are sealed: they stay as they are.
    """
    with connection.transaction():
        limit = str(round(LONGEST_DETECTION / timedelta(milliseconds=1)))
        connection.execute("SELECT set_config('idle_in_transaction_session_timeout', %s, true)", (limit,))
        lock_processor(connection, detector.name)
        seen = revisions(connection, start, end)
        first, last = start - detector.settle, end + detector.look_back
        window = load_window(connection, detector, first, last)
        kept_as_is = sealed(connection, detector, first, last)
        found = {e.event_id: e for e in detector.detect(window) if e.started_at not in kept_as_is}
        rows = connection.execute(
            "SELECT event_id, started_at FROM detected_event"
            " WHERE detector = %s AND started_at >= %s AND started_at < %s",
            (detector.name, first, last),
        ).fetchall()
        stored: dict[UUID, datetime] = {i: at for i, at in rows if at not in kept_as_is}
        # A stored event may begin elsewhere now (the uncertain begin of a masked one): its id decides.
        kept = [e for e in found.values() if first <= e.started_at < last or e.event_id in stored]
        new, updated = _upsert(connection, kept)
        retracted = _retract(connection, detector, stored.keys() - found.keys())
        settled = {hour: seen[hour] for hour in seen if hour + HOUR + detector.settle <= window.end}
        mark_processed(connection, detector.name, settled)
        connection.execute(
            """
            INSERT INTO processor_state AS p (detector, version, watermark, last_run_at, last_error)
            VALUES (%s, %s, %s, clock_timestamp(), NULL)
            ON CONFLICT (detector) DO UPDATE SET version = excluded.version,
                watermark = greatest(p.watermark, excluded.watermark),
                last_run_at = excluded.last_run_at, last_error = NULL
            """,
            (detector.name, detector.version, window.end),
        )
    changed = [found[event_id].started_at for event_id in new + updated]
    changed += [stored[event_id] for event_id in retracted]
    return DetectionResult(
        new=tuple(found[event_id] for event_id in new),
        updated=tuple(found[event_id] for event_id in updated),
        retracted=retracted,
        events=tuple(e for e in kept if start <= e.started_at < end),
        changed_hours=tuple(sorted({hour_of(moment) for moment in changed})),
        watermark=window.end,
    )


def _upsert(connection: psycopg.Connection, events: Sequence[DetectedEvent]) -> tuple[list[UUID], list[UUID]]:
    """Insert or update; the ids of the new ones, and of those that really changed."""
    if not events:
        return [], []
    rows = connection.execute(
        """
        INSERT INTO detected_event AS stored (event_id, detector, detector_version, event_type, channel_id,
                                              started_at, ended_at, state, confidence, payload)
        SELECT found.event_id, found.detector, found.detector_version, found.event_type, channel.channel_id,
               found.started_at, found.ended_at, found.state, found.confidence, found.payload
        FROM jsonb_to_recordset(%s) AS found (event_id uuid, detector text, detector_version text,
             event_type text, item text, started_at timestamptz, ended_at timestamptz, state text,
             confidence real, payload jsonb)
        LEFT JOIN telemetry_channel AS channel ON channel.item_id = found.item
        ON CONFLICT (event_id) DO UPDATE SET
            detector_version = excluded.detector_version, event_type = excluded.event_type,
            channel_id = excluded.channel_id, started_at = excluded.started_at, ended_at = excluded.ended_at,
            state = excluded.state, confidence = excluded.confidence, payload = excluded.payload,
            updated_at = clock_timestamp()
        WHERE (stored.detector_version, stored.event_type, stored.channel_id,
               stored.started_at, stored.ended_at, stored.state, stored.confidence, stored.payload)
            IS DISTINCT FROM (excluded.detector_version, excluded.event_type, excluded.channel_id,
               excluded.started_at, excluded.ended_at, excluded.state, excluded.confidence, excluded.payload)
        RETURNING event_id, xmax = 0 -- xmax is 0 in a row that this statement inserted
        """,
        (
            Jsonb(
                [
                    {
                        "event_id": str(e.event_id),
                        "detector": e.detector,
                        "detector_version": e.detector_version,
                        "event_type": e.event_type,
                        "item": e.item,
                        "started_at": e.started_at.isoformat(),
                        "ended_at": None if e.ended_at is None else e.ended_at.isoformat(),
                        "state": e.state,
                        "confidence": e.confidence,
                        "payload": dict(e.payload),
                    }
                    for e in events
                ]
            ),
        ),
    ).fetchall()
    return [i for i, is_new in rows if is_new], [i for i, is_new in rows if not is_new]


def _retract(connection: psycopg.Connection, detector: Detector, event_ids: set[UUID]) -> tuple[UUID, ...]:
    if not event_ids:
        return ()
    rows = connection.execute(
        """
        UPDATE detected_event SET state = 'retracted', detector_version = %s, updated_at = clock_timestamp()
        WHERE event_id = ANY(%s) AND state <> 'retracted' RETURNING event_id
        """,
        (detector.version, list(event_ids)),
    ).fetchall()
    return tuple(row[0] for row in rows)


@dataclass(frozen=True)
class KnownTime:
    """Up to when (event time, UTC) telemetry is known, and where daemons that listen now have got to."""

    until: datetime | None
    listening: tuple[datetime, ...]

    def settles(self, detector: Detector, hour: datetime) -> bool:
        """Whether a detection over this hour would settle it: time alone changes none of its events."""
        due = hour + HOUR + detector.settle
        reach = detector.look_back + detector.settle
        return (
            self.until is not None
            and due <= self.until
            and not any(hour - reach <= heard < due for heard in self.listening)
        )


def known_time(connection: psycopg.Connection) -> KnownTime:
    """What the store says about it now."""
    heard = listening(connection)
    ((until,),) = connection.execute(
        """
        SELECT greatest((SELECT max(last_seen_at) FROM link_interval),
                        (SELECT max(hour) FROM telemetry_revision))
        """
    ).fetchall()
    return KnownTime(until, heard)


def overdue_hours(
    connection: psycopg.Connection, detector: Detector, patience: timedelta = timedelta(0)
) -> list[datetime]:
    """The stale hours (UTC, newest first) that detecting would have settled `patience` ago.

    Those that wait for time to pass are not among them.
    """
    known = known_time(connection)
    if known.until is None:
        return []
    known = replace(known, until=known.until - patience)
    return [hour for hour in stale_hours(connection, detector.name) if known.settles(detector, hour)]


def detectors_run_since(connection: psycopg.Connection, moment: datetime) -> frozenset[str]:
    """The names of the detectors that have run since then (UTC), with or without an error."""
    rows = connection.execute("SELECT detector FROM processor_state WHERE last_run_at >= %s", (moment,))
    return frozenset(row[0] for row in rows)


def last_error(connection: psycopg.Connection, detector: Detector) -> str | None:
    """Why the last run of the detector failed; None when it did not."""
    row = connection.execute(
        "SELECT last_error FROM processor_state WHERE detector = %s", (detector.name,)
    ).fetchone()
    return None if row is None else row[0]


def record_failure(connection: psycopg.Connection, detector: Detector, error: Exception) -> str:
    """Note in processor_state why the detector failed; returns what was noted."""
    reason = f"{type(error).__name__}: {error}"
    with connection.transaction():
        connection.execute(
            """
            INSERT INTO processor_state (detector, version, last_run_at, last_error)
            VALUES (%s, %s, clock_timestamp(), %s)
            ON CONFLICT (detector) DO UPDATE SET version = excluded.version,
                last_run_at = excluded.last_run_at, last_error = excluded.last_error
            """,
            (detector.name, detector.version, reason),
        )
    return reason
