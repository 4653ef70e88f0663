"""The lines of the Lightstreamer wire protocol (TLCP 2.5.0): requests, notifications, value lists. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote, unquote

PROTOCOL = "TLCP-2.5.0"
WEBSOCKET_PROTOCOL_SUFFIX = ".lightstreamer.com"

DATA_TAGS = frozenset({"U", "SUBOK", "SUBCMD", "UNSUB", "EOS", "CS", "OV", "CONF", "MSGDONE", "MSGFAIL"})
"""Notifications that both sides count from the start of a session, for recovery."""

Values = tuple[str | None, ...]

_MUST_ESCAPE = re.compile(r"[%|\r\n]")
_NEEDS_ESCAPE = re.compile(r"[%|\r\n]|^[#$^]")
_MUST_ESCAPE_IN_ARGUMENT = re.compile(r"[%,\r\n]")


class ProtocolError(ValueError):
    """A line that no TLCP peer may send."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a client sends: a name (`create_session`, `control`, …), one set of parameters a sub-request."""

    name: str
    parameters: tuple[Mapping[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Notification:
    """What a server sends: a tag and its arguments; the value list of a `U` stays encoded."""

    tag: str
    arguments: tuple[str, ...] = ()

    @property
    def is_counted(self) -> bool:
        """True if the line counts as a data notification (LS_recovery_from, PROG)."""
        return self.tag in DATA_TAGS


def format_parameters(parameters: Mapping[str, str]) -> str:
    """One parameter line, `a=b&c=d`, percent-encoded (a space is %20)."""
    return "&".join(f"{quote(key, safe='')}={quote(value, safe='')}" for key, value in parameters.items())


def parse_parameters(line: str) -> dict[str, str]:
    """Read one parameter line; a stray `&` is tolerated, as old clients send one."""
    pairs = (part.partition("=") for part in line.split("&") if part)
    return {unquote(key): unquote(value) for key, _, value in pairs}


def format_request(request: Request) -> str:
    """The text of a WebSocket frame that carries the request."""
    return "\r\n".join([request.name, *map(format_parameters, request.parameters)])


def parse_request(frame: str) -> Request:
    """Read a WebSocket frame; raises ProtocolError if it names no request."""
    name, *lines = frame.replace("\r\n", "\n").split("\n")
    if not name:
        raise ProtocolError("a request frame without a request name")
    return Request(name, parse_request_body(lines))


def parse_request_body(lines: Iterable[str]) -> tuple[Mapping[str, str], ...]:
    """Read the parameter lines (of a frame or of an HTTP body); empty lines are skipped."""
    return tuple(parse_parameters(line) for line in lines if line)


def format_notification(tag: str, *arguments: str | int) -> str:
    """One line from the server, without its CR LF; commas and line ends in arguments are percent-encoded."""
    return ",".join([tag, *(_escape_argument(str(argument)) for argument in arguments)])


def format_update(subscription: int, item: int, value_list: str) -> str:
    """A `U` line; `item` counts from 1, `value_list` comes from `encode_values`."""
    return f"U,{subscription},{item},{value_list}"


def parse_notification(line: str) -> Notification:
    """Read one line from the server, without its line end."""
    tag, *rest = line.split(",", 1)
    if not tag:
        raise ProtocolError("a notification without a tag")
    if tag == "U":
        arguments = rest[0].split(",", 2) if rest else []
        if len(arguments) != 3:
            raise ProtocolError(f"U takes 3 arguments: {line!r}")
        return Notification(tag, tuple(arguments))
    return Notification(tag, tuple(map(unquote, rest[0].split(","))) if rest else ())


def encode_values(values: Sequence[str | None], previous: Sequence[str | None] | None) -> str:
    """The value list of a `U`: null is `#`, empty is `$`, fields equal to `previous` are left out.

    `previous` is what the peer knows of the item; None for the first update of a session, which
    carries every field.
    """
    if previous is None:
        return "|".join(map(_encode_value, values))
    tokens: list[str] = []
    unchanged = 0
    for value, known in zip(values, previous, strict=True):
        if value == known:
            unchanged += 1
            continue
        if unchanged:
            tokens.append(_unchanged(unchanged))
            unchanged = 0
        tokens.append(_encode_value(value))
    if unchanged:
        tokens.append(_unchanged(unchanged))
    return "|".join(tokens)


def decode_values(value_list: str, previous: Sequence[str | None] | None, width: int) -> Values:
    """The inverse of `encode_values`: `width` values, unchanged ones taken from `previous`.

    Raises ProtocolError where the list does not fit; diffs (`^P`, `^T`) are refused: a client that
    announces `LS_supported_diffs=` (empty) never gets one.
    """
    tokens = value_list.split("|")
    if previous is None:
        if len(tokens) != width:
            raise ProtocolError(f"{len(tokens)} values for {width} fields")
        if any(not token or token[0] == "^" for token in tokens):
            raise ProtocolError("an unchanged field in the first update of an item")
        return tuple(map(_decode_value, tokens))
    values = list(previous)
    field = 0
    for token in tokens:
        if not token:
            field += 1
        elif token[0] == "^":
            field += _count_of_unchanged(token, width - field)
        elif field < width:
            values[field] = _decode_value(token)
            field += 1
        else:
            raise ProtocolError(f"more than {width} values")
    if field != width:
        raise ProtocolError(f"{field} values for {width} fields")
    return tuple(values)


def _count_of_unchanged(token: str, at_most: int) -> int:
    digits = token[1:4]
    if len(token) > 4 or not digits.isdecimal() or not digits.isascii():
        raise ProtocolError(f"unsupported token {token[:20]!r}")
    count = int(digits)
    if not 1 <= count <= at_most:
        raise ProtocolError(f"{token!r} with {at_most} fields left")
    return count


def _unchanged(count: int) -> str:
    return "" if count == 1 else f"^{count}"


def _encode_value(value: str | None) -> str:
    if value is None:
        return "#"
    if not value:
        return "$"
    if _NEEDS_ESCAPE.search(value) is None:
        return value
    escaped = _MUST_ESCAPE.sub(_percent, value)
    return f"%{ord(value[0]):02X}{escaped[1:]}" if value[0] in "#$^" else escaped


def _decode_value(text: str) -> str | None:
    if "%" in text:
        return unquote(text)
    if text == "#":
        return None
    return "" if text == "$" else text


def _escape_argument(argument: str) -> str:
    return _MUST_ESCAPE_IN_ARGUMENT.sub(_percent, argument)


def _percent(match: re.Match[str]) -> str:
    return f"%{ord(match[0]):02X}"
