"""What is fuzzed: frames as a server may send them, through session and interpreter, to what is stored."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime

from ingest_daemon.clock import SystemClock
from ingest_daemon.feed import FIELDS, FeedEvent, Heard
from ingest_daemon.interpreter import Interpreter
from ingest_daemon.link import Link
from ingest_daemon.reading import RawUpdate, Reading, Rejection
from ingest_daemon.tlcp import ProtocolError
from ingest_daemon.tlcp_session import SessionOverError, TlcpSession

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ITEMS = ("NODE3000005", "NODE3000004", "TIME_000001")
FULL = "1452.0|17|24|$|#|17"


class Victim:
    """Survives whatever it is given, or raises what must be mended."""

    def __init__(self) -> None:
        self.sessions = self.readings = self.rejections = 0
        self._interpreter = Interpreter(SystemClock(lambda: NOW), Link(0.0))
        self._session = self._connected(TlcpSession("ISSLIVE", [ITEMS]))

    def hear(self, frame: str) -> list[Reading | Rejection]:
        """One frame; returns what would be stored."""
        events: list[FeedEvent] = []
        try:
            self._session.receive(frame, NOW, 1.0, events)
        except (ProtocolError, SessionOverError):
            self._session = self._connected(TlcpSession("ISSLIVE", [ITEMS]))
        requests = self._session.take_requests()
        assert sum(len(request.parameters) for request in requests) <= 2 * len(ITEMS)
        return self._checked(events)

    def heed(self, fields: tuple[str | None, ...], item: str, is_snapshot: bool) -> list[Reading | Rejection]:
        """One update, however the feed came by it."""
        assert len(fields) == len(FIELDS)
        timestamp, value, status, indicator, color, calibrated = fields
        update = RawUpdate(
            item, timestamp, value, status, indicator, color, calibrated, is_snapshot, NOW
        )  # fmt: skip
        return self._checked([Heard(update, 1.0)])

    def cut(self) -> None:
        """The connection is cut; the session is recovered if it can be."""
        if self._session.is_recoverable:
            self._session.begin_connection()
            _, bind = self._session.take_requests()
            self._session.receive(f"CONOK,{self._session.identity},50000,2000,*", NOW, 1.0, [])
            if "LS_recovery_from" in bind.parameters[0]:
                self._session.receive(f"PROG,{bind.parameters[0]['LS_recovery_from']}", NOW, 1.0, [])

    def _connected(self, session: TlcpSession) -> TlcpSession:
        self.sessions += 1
        session.begin_connection()
        session.receive(f"CONOK,S{self.sessions},50000,2000,*", NOW, 1.0, [])
        session.take_requests()
        opening = [f"SUBOK,1,{len(ITEMS)},{len(FIELDS)}", "CONF,1,unlimited,filtered"]
        opening += [f"U,1,{position},{FULL}" for position in range(1, len(ITEMS) + 1)]
        session.receive("\r\n".join(opening), NOW, 1.0, [])
        return session

    def _checked(self, events: list[FeedEvent]) -> list[Reading | Rejection]:
        results = self._interpreter.interpret(events)
        for result in results:
            if isinstance(result, Reading):
                self.readings += 1
                assert "\x00" not in result.raw_value
                assert len(result.raw_value.encode()) <= 4000
                assert result.value is None or math.isfinite(result.value)
                assert result.ts.tzinfo is UTC
                assert -(2**63) <= result.event_id < 2**63
            else:
                self.rejections += 1
                fields = json.dumps(dict(result.fields), ensure_ascii=False)
                assert "\\u0000" not in fields
                assert len(fields.encode()) <= 100_000
        return results
