"""Is the daemon ready? Judged by what its main loop did last. Pure: the clock is passed in."""

from __future__ import annotations

import json
from dataclasses import dataclass

from ingest_daemon.link import LinkState

STUCK_S = 10.0
"""Seconds that one round of the main loop may take; it begins five a second."""
FRESH_S = 900.0
"""Seconds without a live update after which LOS explains nothing: the longest real one took 11 minutes."""
DATABASE_AWAY_S = 30.0
"""Seconds that the database may be away, as while it restarts; nothing is lost meanwhile."""


@dataclass(frozen=True, slots=True)
class Beat:
    """What one round of the main loop left behind. Moments are seconds of the monotonic clock."""

    at_s: float
    state: LinkState | None
    """None until the link is known."""
    heard_s: float | None
    """Arrival of the newest live update."""
    away_since_s: float | None
    """Since when the database is away."""
    behind_s: float = 0.0
    """How long an update may wait inside the feed's client."""
    spool_is_full: bool = False
    """Neither the database nor the disk takes what is heard: it stays in memory, as long as that lasts."""


class Health:
    """The main loop writes beats, any thread asks."""

    def __init__(self, monotonic_s: float) -> None:
        self._beat = Beat(monotonic_s, None, None, None)

    def beat(self, beat: Beat) -> None:
        """Note that the main loop has done a round."""
        self._beat = beat

    def answer(self, monotonic_s: float) -> tuple[bool, str]:
        """Whether the daemon is ready, and one line of JSON that says so, or why not."""
        beat = self._beat
        why = _why_not(beat, monotonic_s)
        answer = {
            "ready": why is None,
            "why": why,
            "feed": beat.state,
            "loop_s": round(monotonic_s - beat.at_s, 1),
            "heard_s": None if beat.heard_s is None else round(monotonic_s - beat.heard_s, 1),
            "behind_s": round(beat.behind_s, 1),
            "database_away_s": None
            if beat.away_since_s is None
            else round(monotonic_s - beat.away_since_s, 1),
            "spool_full": beat.spool_is_full,
        }
        return why is None, json.dumps(answer)


def _why_not(beat: Beat, monotonic_s: float) -> str | None:
    if monotonic_s - beat.at_s > STUCK_S:
        return f"the main loop is stuck for {monotonic_s - beat.at_s:.0f} s"
    if beat.spool_is_full:
        return "the spool is full: what is heard stays in memory until the database or the disk takes it"
    if beat.away_since_s is not None and monotonic_s - beat.away_since_s > DATABASE_AWAY_S:
        return f"the database is away for {monotonic_s - beat.away_since_s:.0f} s"
    if beat.state is None:
        return "starting: the state of the link is not known yet"
    if beat.state is LinkState.DOWN:
        return "DOWN: no connection to the telemetry server"
    if beat.heard_s is None:
        return f"{beat.state}: no live update since the start"
    if monotonic_s - beat.heard_s > FRESH_S:
        return f"{beat.state}: no live update for {monotonic_s - beat.heard_s:.0f} s"
    return None
