"""How a record lies in a spool file: a header with checksums, then the payload. Pure."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

WAITING = b"W"
DONE = b"D"
STATE_OFFSET = 4
"""Where in a record its state byte is: the only byte that is ever overwritten."""

_MAGIC = b"PbSp"
_HEADER = struct.Struct("<4scxxxIIII")
_CHECKED = struct.Struct("<III")


@dataclass(frozen=True, slots=True)
class Record:
    """A whole record of a file: where it begins, what it carries, and how many readings that is."""

    offset: int
    payload: bytes
    readings: int


@dataclass(frozen=True, slots=True)
class Damage:
    """A stretch that is no whole record: a write that was cut off, or a bad disk.

    `readings` is what its header promised; 0 when even that can't be read.
    """

    readings: int


def encode(payload: bytes, readings: int) -> bytes:
    """The bytes of a record that waits."""
    checked = _CHECKED.pack(len(payload), readings, zlib.crc32(payload))
    return _HEADER.pack(_MAGIC, WAITING, *_CHECKED.unpack(checked), zlib.crc32(checked)) + payload


def waiting_records(data: bytes) -> Iterator[Record | Damage]:
    """What waits in the bytes of a file, in order; after damage it goes on with the next whole record."""
    offset = 0
    while offset < len(data):
        header = _header(data, offset)
        if header is None:
            yield Damage(0)
            offset = _next_header(data, offset + 1)
            continue
        state, length, readings, checksum = header
        start = offset + _HEADER.size
        payload = data[start : start + length]
        if len(payload) < length or zlib.crc32(payload) != checksum:
            if state == WAITING:
                yield Damage(readings)
            # The length may be the length of what was never written.
            offset = _next_header(data, start)
            continue
        if state == WAITING:
            yield Record(offset, payload, readings)
        offset = start + length


def _header(data: bytes, offset: int) -> tuple[bytes, int, int, int] | None:
    if len(data) - offset < _HEADER.size:
        return None
    magic, state, length, readings, checksum, own_checksum = _HEADER.unpack_from(data, offset)
    if magic != _MAGIC or zlib.crc32(_CHECKED.pack(length, readings, checksum)) != own_checksum:
        return None
    return state, length, readings, checksum


def _next_header(data: bytes, offset: int) -> int:
    while (offset := data.find(_MAGIC, offset)) >= 0:
        if _header(data, offset) is not None:
            return offset
        offset += 1
    return len(data)
