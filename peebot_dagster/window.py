"""The telemetry that a detector may look at, read from the store. No Dagster, no clock."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import psycopg

from peebot_dagster.detectors.detector import Detector, Window, follows_link
from peebot_dagster.link import listening, load_link


def load_window(connection: psycopg.Connection, detector: Detector, start: datetime, end: datetime) -> Window:
    """The telemetry (UTC) that the detector needs to find each event that starts in [start, end).

    It reaches from start - look_back to end + settle, or to the watermark when that comes first.
    """
    # Imported here: it costs each run half a second, and a posting run looks at no telemetry.
    import pandas as pd

    window_start, window_end = start - detector.look_back, end + detector.settle
    channels: dict[int, str] = dict(
        connection.execute(
            "SELECT channel_id, item_id FROM telemetry_channel WHERE item_id = ANY(%s)",
            (list(detector.items),),
        ).fetchall()
    )
    window_end = max(window_start, _watermark(connection, list(channels), window_start, window_end))
    link = load_link(connection, window_start, window_end)
    link_suffices = link.live is not None and follows_link(detector)
    # Binary: a day of channels at 1 Hz is a million rows, and reading their text takes half as long again.
    rows = (
        connection.cursor(binary=True)
        .execute(
            "SELECT ts, channel_id, value, status_class, is_snapshot"
            " FROM telemetry_window(%s::smallint[], %s, %s) WHERE NOT %s OR status_class <> 24",
            (list(channels), window_start, window_end, link_suffices),
        )
        .fetchall()
    )
    readings = pd.DataFrame(
        {
            "ts": pd.to_datetime([row[0] for row in rows], utc=True),
            "item": pd.Series([channels[row[1]] for row in rows], dtype="object"),
            "value": pd.Series([row[2] for row in rows], dtype="float64"),
            "status_class": pd.Series([row[3] for row in rows], dtype="Int64"),
            "is_snapshot": pd.Series([row[4] for row in rows], dtype="bool"),
        }
    )
    return Window(window_start, window_end, readings, link.live, link.lost)


def _watermark(
    connection: psycopg.Connection, channel_ids: Sequence[int], start: datetime, end: datetime
) -> datetime:
    """The event time up to which the telemetry before `end` is known.

    A daemon that is listening (live or in a replay) inside [start, end) sets it; otherwise time is known to
    have passed as far as anything newer is stored.
    """
    heard = max((moment for moment in listening(connection) if start <= moment < end), default=None)
    ((last_seen, last_hour, own),) = connection.execute(
        """
        SELECT (SELECT max(last_seen_at) FROM link_interval),
               (SELECT max(hour) FROM telemetry_revision),
               (SELECT max(newest.ts) FROM unnest(%(channels)s::smallint[]) AS c (id), LATERAL (
                    SELECT r.ts FROM telemetry_reading r
                    WHERE r.channel_id = c.id AND r.ts >= %(start)s AND r.ts < %(end)s
                    ORDER BY r.ts DESC LIMIT 1) AS newest)
        """,
        {"start": start, "end": end, "channels": list(channel_ids)},
    ).fetchall()
    # The end of a window is exclusive and the newest reading belongs to what is known.
    own_end = None if own is None else own + timedelta(microseconds=1)
    known = [heard, own_end] if heard is not None else [last_seen, last_hour, own_end]
    return min(end, max((moment for moment in known if moment is not None), default=start))
