"""One TLCP session as its client sees it: what to ask, what lines mean, what counts. No socket, no clock."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Sequence
from datetime import datetime

from ingest_daemon.feed import FIELDS, FeedEvent, Heard, LineRejected, UpdatesLost
from ingest_daemon.link import CLOCK_ITEM
from ingest_daemon.reading import MAX_OTHER_TEXT, RawUpdate, clipped
from ingest_daemon.tlcp import (
    DATA_TAGS,
    ProtocolError,
    Request,
    Values,
    decode_values,
    parse_notification,
)

ITEMS_PER_SUBSCRIPTION = 50
KEEPALIVE_MS = 2000
LONGEST_KEEPALIVE_S = 60.0
LONGEST_LOOP_DELAY_S = 10.0
LINE_LIMIT = 16_384
"""Characters; the feed's own lines have about a hundred. It bounds what a hostile server makes us keep."""

_WIDTH = len(FIELDS)
_CLIENT_ID = "mgQkwtwdysogQz2BJ4Ji kOj2Bg"
_UPDATE = "U,"
_TAG = re.compile(r"[A-Z]{1,16}")
_IGNORED_TAGS = frozenset(
    {"CONS", "SERVNAME", "CLIENTIP", "NOOP", "PROBE", "SYNC", "WSOK", "REQOK", "CONF", "EOS", "CS"}
    | {"MSGDONE", "MSGFAIL"}
)
_ACTED_ON_TAGS = frozenset(
    {"CONOK", "PROG", "LOOP", "SUBOK", "SUBCMD", "UNSUB", "OV", "REQERR", "CONERR", "END", "ERROR"}
)
_HOST = re.compile(r"[A-Za-z0-9._-]{1,253}(:[0-9]{1,5})?")
_SESSION_NOT_FOUND = 20

logger = logging.getLogger(__name__)


class SessionOverError(Exception):
    """The server has ended the session, or refuses it; a new one may be created."""


class _Channel:
    """One item of a subscription and the values that the server knows us to know."""

    __slots__ = ("item", "values")

    def __init__(self, item: str) -> None:
        self.item = item
        self.values: Values | None = None


class _Subscription:
    def __init__(self, items: Sequence[str]) -> None:
        self.items = items
        self.is_confirmed = False
        self.channels = {str(position): _Channel(item) for position, item in enumerate(items, 1)}


class TlcpSession:
    """Its requests go out in order; every frame that comes in is given to `receive`."""

    def __init__(self, adapter_set: str, groups: Iterable[Sequence[str]]) -> None:
        """`groups`: the items of each subscription."""
        self.identity = ""
        self.host: str | None = None
        self.keepalive_s = KEEPALIVE_MS / 1000
        self.received = 0
        self.loop_after_s: float | None = None
        self.is_bound = False
        self._adapter_set = adapter_set
        self._groups = list(groups)
        self._requests: list[Request] = []
        self._subscriptions: dict[str, _Subscription] = {}
        self._last_number = 0
        self._awaits_prog = False
        self._repeated = 0

    @property
    def is_recoverable(self) -> bool:
        """Whether a new connection can go on where this one was cut: whatever was asked has been answered."""
        return bool(self.identity) and all(s.is_confirmed for s in self._subscriptions.values())

    def successor(self) -> TlcpSession:
        """A session that asks for the same items anew, but for those that the server has refused."""
        return TlcpSession(self._adapter_set, self._groups)

    def begin_connection(self) -> None:
        """A new connection is there: the next requests create the session, or bind to it."""
        has_looped, self.loop_after_s = self.loop_after_s is not None, None
        self.is_bound = False
        self._awaits_prog = False
        self._repeated = 0
        parameters = {"LS_send_sync": "false", "LS_keepalive_millis": str(KEEPALIVE_MS)}
        if not self.identity:
            parameters |= {
                "LS_adapter_set": self._adapter_set,
                "LS_cid": _CLIENT_ID,
                "LS_supported_diffs": "",
            }
            request = Request("create_session", (parameters,))
        else:
            parameters |= {"LS_session": self.identity}
            if not has_looped:
                parameters |= {"LS_recovery_from": str(self.received)}
                self._awaits_prog = True
            request = Request("bind_session", (parameters,))
        self._requests = [Request("wsok"), request]

    def take_requests(self) -> list[Request]:
        """What is to be sent now."""
        taken, self._requests = self._requests, []
        return taken

    def farewell(self) -> Request:
        """The request that ends the session."""
        return Request("control", ({"LS_reqId": "bye", "LS_op": "destroy", "LS_close_socket": "true"},))

    def receive(self, frame: str, received_at: datetime, monotonic_s: float, events: list[FeedEvent]) -> None:
        """Read a frame's lines; what they tell is appended to `events`, also if it raises later.

        Raises ProtocolError for what no server may say (the session can't be trusted any more), and
        SessionOverError.
        """
        lines = frame.split("\r\n")
        if len(frame) > LINE_LIMIT and max(map(len, lines)) > LINE_LIMIT:
            raise ProtocolError("a line too long")
        for line in lines:
            if not line.startswith(_UPDATE):
                if line:
                    self._notice(line, received_at, events)
                continue
            if not self._count():
                continue
            parts = line.split(",", 3)
            if len(parts) != 4:
                raise ProtocolError(f"U takes 3 arguments: {line[:100]!r}")
            _, number, position, value_list = parts
            subscription = self._subscriptions.get(number)
            if subscription is None or not subscription.is_confirmed:
                continue
            channel = subscription.channels.get(position)
            if channel is None:
                raise ProtocolError(f"an update of item {position[:20]!r} of {len(subscription.items)}")
            known = channel.values
            values = decode_values(value_list, known, _WIDTH)
            # No field is longer than all of them; those that are unchanged are clipped already.
            channel.values = values if len(value_list) <= MAX_OTHER_TEXT else clipped(values)
            timestamp, value, status, indicator, color, calibrated = channel.values
            update = RawUpdate(
                channel.item,
                timestamp,
                value,
                status,
                indicator,
                color,
                calibrated,
                known is None,
                received_at,
            )
            events.append(Heard(update, monotonic_s))

    def _count(self) -> bool:
        """Count a data notification; False if it repeats one from before the connection was cut."""
        if self._awaits_prog or not self.is_bound:
            raise ProtocolError("data before the session is bound")
        if self._repeated:
            self._repeated -= 1
            return False
        self.received += 1
        return True

    def _notice(self, line: str, received_at: datetime, events: list[FeedEvent]) -> None:
        notification = parse_notification(line)
        tag, arguments = notification.tag, notification.arguments
        if tag in DATA_TAGS and not self._count():
            return
        match tag, arguments:
            case "CONOK", (identity, _, keepalive_ms, host, *_):
                self._connected(identity, _number(keepalive_ms), host)
            case "PROG", (count,):
                self._resume(_number(count))
            case "LOOP", (delay_ms,):
                self.loop_after_s = min(_number(delay_ms) / 1000, LONGEST_LOOP_DELAY_S)
            case "SUBOK", (number, items, fields):
                self._confirm(number, _number(items), _number(fields))
            case "UNSUB", (number,):
                if number in self._subscriptions:
                    raise ProtocolError("a subscription has been taken away")
            case "OV", (number, position, lost):
                self._overflow(number, position, _number(lost), received_at, events)
            case "REQERR", (number, code, *message):
                self._refuse(number, _number(code, signed=True), _text(message))
            case (("CONERR" | "END" | "ERROR"), (code, *message)):
                raise SessionOverError(f"{tag} {_number(code, signed=True)} {_text(message)}")
            case _ if tag in _IGNORED_TAGS:
                pass
            case _ if tag in _ACTED_ON_TAGS or not _TAG.fullmatch(tag):
                raise ProtocolError(f"not in the protocol: {line[:100]!r}")
            case _:
                events.append(LineRejected(line[:1000], "unknown_notification", received_at))

    def _connected(self, identity: str, keepalive_ms: int, host: str) -> None:
        if self.is_bound or not identity or (self.identity and identity != self.identity):
            raise ProtocolError("an unexpected CONOK")
        if host != "*":
            if not _HOST.fullmatch(host):
                raise ProtocolError(f"no host name: {host[:100]!r}")
            self.host = host
        self.is_bound = True
        self.keepalive_s = min(max(keepalive_ms / 1000, 0.5), LONGEST_KEEPALIVE_S)
        if not self.identity:
            self.identity = identity
            self._subscribe(self._groups)

    def _resume(self, count: int) -> None:
        if not self._awaits_prog or not self.is_bound or count > self.received:
            raise ProtocolError("an unexpected PROG")
        self._awaits_prog = False
        self._repeated = self.received - count

    def _confirm(self, number: str, items: int, fields: int) -> None:
        subscription = self._subscriptions.get(number)
        if subscription is None:
            return
        if (items, fields) == (len(subscription.items), _WIDTH):
            subscription.is_confirmed = True
            return
        delete = {"LS_reqId": f"{number}-delete", "LS_op": "delete", "LS_subId": number, "LS_ack": "false"}
        self._requests.append(Request("control", (delete,)))
        self._refuse(number, 0, f"it counts {items} items and {fields} fields")

    def _overflow(
        self, number: str, position: str, lost: int, received_at: datetime, events: list[FeedEvent]
    ) -> None:
        subscription = self._subscriptions.get(number)
        channel = subscription.channels.get(position) if subscription else None
        if channel is not None:
            events.append(UpdatesLost(channel.item, lost, received_at))

    def _refuse(self, number: str, code: int, message: str) -> None:
        """Subscribe in halves what the server has refused: one bad item must not silence 49 good ones."""
        if code == _SESSION_NOT_FOUND:
            raise SessionOverError(f"REQERR {code} {message}")
        refused = self._subscriptions.pop(number, None)
        if refused is None:
            return
        self._groups.remove(refused.items)
        if len(refused.items) == 1:
            logger.warning(
                "the server refuses item %(item)s: %(code)d %(error)s",
                {"item": refused.items[0], "code": code, "error": message},
            )
            return
        middle = len(refused.items) // 2
        halves = [refused.items[:middle], refused.items[middle:]]
        self._groups.extend(halves)
        self._subscribe(halves)

    def _subscribe(self, groups: Sequence[Sequence[str]]) -> None:
        parameters = []
        for items in groups:
            self._last_number += 1
            number = str(self._last_number)
            self._subscriptions[number] = _Subscription(items)
            parameters.append(
                {
                    "LS_reqId": number,
                    "LS_op": "add",
                    "LS_subId": number,
                    "LS_mode": "MERGE",
                    "LS_group": " ".join(items),
                    "LS_schema": " ".join(FIELDS),
                    "LS_snapshot": "true",
                    # Without it the server keeps only the newest state of an item while it can't send.
                    "LS_requested_buffer_size": "unlimited",
                    "LS_ack": "false",
                }
            )
        if parameters:
            self._requests.append(Request("control", tuple(parameters)))


def groups_of(items: Sequence[str]) -> list[Sequence[str]]:
    """The subscriptions for these items; CLOCK_ITEM gets one of its own."""
    others = [item for item in items if item != CLOCK_ITEM]
    starts = range(0, len(others), ITEMS_PER_SUBSCRIPTION)
    return [[CLOCK_ITEM], *(others[start : start + ITEMS_PER_SUBSCRIPTION] for start in starts)]


def _text(parts: Sequence[str]) -> str:
    return ",".join(parts)[:200]


def _number(text: str, *, signed: bool = False) -> int:
    digits = text.removeprefix("-") if signed else text
    if not (digits.isascii() and digits.isdecimal() and len(digits) <= 12):
        raise ProtocolError(f"not a number: {text[:20]!r}")
    return int(text)
