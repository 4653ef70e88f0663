"""The server's core, free of sockets: the board of items, the sessions, and the answers to requests."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterable, Mapping

from ingest_daemon.tlcp import Values, format_notification
from iss_simulator.binding import Binding, BindOptions, Hold
from iss_simulator.session import Session
from iss_simulator.subscription import RefusedError

_REQUEST_LIMIT = 50_000


class Switchboard:
    """Who may subscribe what, who is connected, and what each item said last; one event loop only.

    `items` limits what may be subscribed (None: any name). An unbound session lives `session_timeout_s`
    seconds; `keep_lines` sent lines of each are kept for recovery; one with more than `max_unsent` waiting
    lines is lost.
    """

    def __init__(
        self,
        items: Iterable[str] | None = None,
        *,
        adapter_set: str = "ISSLIVE",
        keepalive_s: float = 5.0,
        session_timeout_s: float = 30.0,
        keep_lines: int = 50_000,
        max_unsent: int = 1_000_000,
    ) -> None:
        self.hold = Hold()
        self.refusal: RefusedError | None = None
        self.session_changed = asyncio.Event()
        self._items = None if items is None else frozenset(items)
        self._adapter_set = adapter_set
        self._keepalive_s = keepalive_s
        self._session_timeout_s = session_timeout_s
        self._keep_lines = keep_lines
        self._max_unsent = max_unsent
        self._latest: dict[str, Values] = {}
        self._sessions: dict[str, Session] = {}

    @property
    def sessions(self) -> list[Session]:
        """All live sessions, bound or waiting for their client."""
        return list(self._sessions.values())

    def audience(self) -> list[Session]:
        """Sessions that are bound now and have subscribed something."""
        return [session for session in self.sessions if session.is_bound and session.has_subscriptions]

    def is_known(self, item: str) -> bool:
        """Whether the item may be subscribed."""
        return self._items is None or item in self._items

    def latest(self, item: str) -> Values | None:
        """The last FIELDS of an item: the snapshot of a new subscription."""
        return self._latest.get(item)

    def remember(self, item: str, fields: Values) -> None:
        """Set what a later snapshot tells, without sending it to anybody."""
        self._latest[item] = fields

    def publish(self, item: str, fields: Values) -> None:
        """Send new FIELDS of an item to all who subscribed it."""
        self._latest[item] = fields
        for session in self.sessions:
            session.publish(item, fields)
            if session.log.unsent > self._max_unsent:
                self.forget(session)

    def create(self, parameters: Mapping[str, str], peer: str) -> Binding:
        """Answer create_session; raises RefusedError (2: no such adapter set, or a fault verb's)."""
        if self.refusal is not None:
            raise self.refusal
        if parameters.get("LS_adapter_set", "DEFAULT") != self._adapter_set:
            raise RefusedError(2, "Requested Adapter Set not available")
        replaced = self._sessions.get(parameters.get("LS_old_session", ""))
        if replaced is not None:
            self.forget(replaced)
        clock = asyncio.get_running_loop().time
        session = Session(f"S{secrets.token_hex(8)}", self, self._keep_lines, clock)
        session.peer_address = peer
        self._sessions[session.identity] = session
        return self._bind(session, parameters)

    def bind(self, parameters: Mapping[str, str], current: Session | None) -> Binding:
        """Answer bind_session; `current` is the session last bound on this socket, if it is a WebSocket."""
        session = self.find(parameters, current)
        received = parameters.get("LS_recovery_from")
        if received is not None and not session.log.rewind(int(received)):
            self.forget(session)
            raise RefusedError(4, "Recovery point no longer kept")
        return self._bind(session, parameters)

    def find(self, parameters: Mapping[str, str], current: Session | None) -> Session:
        """The session of a request; raises RefusedError 20 if there is none (any more)."""
        identity = parameters.get("LS_session", current.identity if current else "")
        session = self._sessions.get(identity)
        if session is None:
            raise RefusedError(20, "Session not found")
        return session

    def release(self, session: Session, binding: Binding) -> None:
        """A connection is done with its session: it waits for a new bind, for a while."""
        if session.farewell is not None:
            self.forget(session)
        binding.detach()
        if session.is_bound or session.identity not in self._sessions:
            return
        self._changed()
        loop = asyncio.get_running_loop()
        loop.call_later(self._session_timeout_s, self._expire, session, session.unbound_at)

    def forget(self, session: Session) -> None:
        """Lose a session: whoever binds to it is told 20 and has to create a new one."""
        self._sessions.pop(session.identity, None)
        session.abandon()
        self._changed()

    def control(self, parameters: Mapping[str, str], current: Session | None) -> str | None:
        """Carry out one sub-request of control; the reply line, or None where the client wants none."""
        request = parameters.get("LS_reqId", "")
        try:
            self.find(parameters, current).control(parameters)
        except RefusedError as refused:
            return format_notification("REQERR", request, refused.code, refused.message)
        self._changed()
        return None if parameters.get("LS_ack") == "false" else format_notification("REQOK", request)

    def _bind(self, session: Session, parameters: Mapping[str, str]) -> Binding:
        options = BindOptions.from_request(parameters, self._keepalive_s)
        wait_ms = round((options.idle_s if options.polling else options.keepalive_s) * 1000)
        head = [
            format_notification("CONOK", session.identity, _REQUEST_LIMIT, wait_ms, "*"),
            format_notification("SERVNAME", "Lightstreamer HTTP Server"),
            format_notification("CLIENTIP", session.peer_address),
            format_notification("CONS", "unlimited"),
        ]
        if options.received is not None:
            head.append(format_notification("PROG", options.received))
        binding = Binding(session, options, head, self.hold)
        self._changed()
        return binding

    def _expire(self, session: Session, unbound_at: float | None) -> None:
        if session.unbound_at == unbound_at and not session.is_bound:
            self.forget(session)

    def _changed(self) -> None:
        self.session_changed.set()
