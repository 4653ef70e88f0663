"""Waiting for readings and changes of the link: who may watch, and what wakes the watch. No Dagster.

Notifications only wake: what is new is in the revisions, and the watch looks there when it begins. So a
notification that is lost costs some seconds and no event.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection
from datetime import timedelta

import psycopg

STORED = "telemetry_stored"
"""The writer's notification at each commit; its payload are the channel ids, or nothing: any channel."""

CHANGED = "peebot_changed"
"""The store's notification that events, posts, the mute or the link have changed (migrations 19 and 27); its
payload is the table's name."""

LINK = "link_interval"

OFF_DUTY = "live_detection_off_duty"
"""Sent by whoever is about to stop Dagster: a watch that goes on would hold that up."""

LONGEST = timedelta(seconds=int(os.environ.get("DAGSTER_SENSOR_GRPC_TIMEOUT_SECONDS") or 180))
"""A watch that has not ended by then never will: the server ends its session, and another has its turn.

A watching session runs no statement while it waits and looks: for 20 s as a rule, for more while what it
looks at is put in order (decision 0018), and never for longer than Dagster waits for a tick.
"""

_TAKE = "SELECT pg_advisory_lock(hashtextextended('peebot:live_detection', 0))"


class Watch:
    """One session's part in the watch: it waits for its turn, then for readings.

    The connection must be in autocommit, and is the watch's alone: its end is the end of the watch.
    """

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection
        self.off_duty = False
        limit = str(round(LONGEST / timedelta(milliseconds=1)))
        connection.execute("SELECT set_config('idle_session_timeout', %s, false)", (limit,))
        connection.execute(f"LISTEN {OFF_DUTY}")

    def take(self, patience: timedelta) -> bool:
        """Wait until nobody else has the watch and take it; False when that takes longer than `patience`."""
        milliseconds = max(1, round(patience / timedelta(milliseconds=1)))
        self._connection.execute("SELECT set_config('lock_timeout', %s, false)", (str(milliseconds),))
        try:
            self._connection.execute(_TAKE)
        except psycopg.errors.LockNotAvailable:
            return False
        self._connection.execute(f"LISTEN {STORED}")
        self._connection.execute(f"LISTEN {CHANGED}")
        return True

    def wait(self, channels: Collection[int], patience: timedelta) -> None:
        """Return when readings of these channels have been stored or the link has changed, after `patience`,
        or when off duty."""
        until = time.monotonic() + patience.total_seconds()
        while True:
            seconds = max(0.0, until - time.monotonic())
            # All that came at once: what is left in the generator when it is closed would be lost.
            notes = list(self._connection.notifies(timeout=seconds, stop_after=1))
            self.off_duty = any(note.channel == OFF_DUTY for note in notes)
            if not notes or self.off_duty or any(_wakes(note, channels) for note in notes):
                return
            if time.monotonic() >= until:
                return


def _wakes(note: psycopg.Notify, channels: Collection[int]) -> bool:
    if note.channel == CHANGED:
        return note.payload == LINK
    return note.channel == STORED and concerns(note.payload, channels)


def concerns(payload: str, channels: Collection[int]) -> bool:
    """Whether the writer's notification tells of one of these channels."""
    if not payload:
        return True
    return any(int(told) in channels for told in payload.split(",") if told.isdecimal())
