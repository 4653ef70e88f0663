"""Is the station heard? AOS, LOS and DOWN from the clock channel's ticks and the connection. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, StrEnum

from ingest_daemon.reading import Reading

CLOCK_ITEM = "TIME_000001"
"""The station's own clock: it ticks about once a second, and its Status.Class tells AOS from LOS."""
AOS_CLASS = 24
SILENCE_S = 15.0
"""Seconds (monotonic) without a tick after which the signal counts as lost."""
GRACE_S = 3.0
"""Seconds that connecting, recovering a session and waiting for the first tick may take before they count."""


class Connection(Enum):
    """How the connection to the server is."""

    CONNECTED = "connected"
    DISCONNECTED = "disconnected"
    """Not connected, and the client goes on trying."""
    FAILED = "failed"
    """Ended by an error; only a new client helps."""


class LinkState(StrEnum):
    """What the daemon hears: the station (LIVE), only the server (LOS), nobody (DOWN)."""

    LIVE = "LIVE"
    LOS = "LOS"
    DOWN = "DOWN"


@dataclass(frozen=True)
class Transition:
    """From `at` (UTC) on the link is in `state`; `at` may lie before the moment when that became known."""

    state: LinkState
    at: datetime


class Link:
    """The state machine. `now` is the daemon's clock (UTC), `monotonic_s` the machine's monotonic one."""

    def __init__(self, monotonic_s: float) -> None:
        self.state: LinkState | None = None
        self._since: datetime | None = None
        self._first_checked_at: datetime | None = None
        self._last_heard_at: datetime | None = None
        self._last_connected_s = monotonic_s
        self._connected_at: tuple[datetime, float] | None = None
        self._last_tick_ts: datetime | None = None
        self._last_tick: tuple[datetime, float] | None = None
        self._transitions: list[Transition] = []
        self.behind = timedelta(0)
        """How long an update may have waited before it counted as heard."""

    def heard(self, now: datetime) -> None:
        """An update has arrived, of whatever channel."""
        self._last_heard_at = now

    def tick(self, reading: Reading, now: datetime, monotonic_s: float) -> None:
        """A reading of the clock channel has arrived."""
        # A flag that sticks at 24 while the station's clock stands still is no signal.
        if self._last_tick_ts is not None and reading.ts <= self._last_tick_ts:
            return
        self._last_tick_ts = reading.ts
        if reading.status_class != AOS_CLASS:
            self._enter(LinkState.LOS, now)
        elif not reading.is_snapshot or now - reading.ts <= timedelta(seconds=SILENCE_S):
            self._last_tick = (now, monotonic_s)
            self._enter(LinkState.LIVE, now)

    def session_lost(self) -> None:
        """The session is gone: what happened since the last update will never be delivered."""
        self._lose(self._silent_since())

    def lost_since(self, at: datetime) -> None:
        """What happened since `at` will never be delivered, though something later may have been."""
        self._lose(at)

    def check(self, connection: Connection, now: datetime, monotonic_s: float) -> None:
        """Draw the conclusions from the connection's state and from silence."""
        self._first_checked_at = self._first_checked_at or now
        if connection is Connection.CONNECTED:
            self._last_connected_s = monotonic_s
            self._connected_at = self._connected_at or (now, monotonic_s)
            self._check_silence(*self._connected_at, monotonic_s)
            return
        self._connected_at = None
        # A session that is gone is told by session_lost(); one that is only cut may come back without loss.
        if monotonic_s - self._last_connected_s > GRACE_S:
            self._enter(LinkState.DOWN, self._silent_since() or self._first_checked_at)

    def transitions(self) -> list[Transition]:
        """The transitions since the last call, oldest first."""
        taken, self._transitions = self._transitions, []
        return taken

    def _silent_since(self) -> datetime | None:
        return None if self._last_heard_at is None else self._last_heard_at - self.behind

    def _lose(self, since: datetime | None) -> None:
        self._last_tick_ts = None
        self._last_tick = None
        self._connected_at = None
        if self.state is not None and since is not None:
            self._enter(LinkState.DOWN, since)

    def _check_silence(self, connected_at: datetime, connected_s: float, monotonic_s: float) -> None:
        if self.state is LinkState.LIVE and self._last_tick is not None:
            ticked_at, ticked_s = self._last_tick
            if monotonic_s - ticked_s > SILENCE_S:
                self._enter(LinkState.LOS, ticked_at)
        elif self.state is not LinkState.LOS and monotonic_s - connected_s > GRACE_S:
            self._enter(LinkState.LOS, connected_at)

    def _enter(self, state: LinkState, at: datetime) -> None:
        if state is self.state:
            return
        self.state = state
        self._since = max(at, self._since or at)
        self._transitions.append(Transition(state, self._since))
