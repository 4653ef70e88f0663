"""A bounded queue on disk, in append-only files with checksums (docs/decisions/0010-spool.md).

A record is on the disk when `append` returns. It waits until it is acknowledged, also beyond a crash.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from ingest_daemon.spool_record import DONE, STATE_OFFSET, Damage, Record, encode, waiting_records

FILE_BYTES = 8 << 20
"""A file is finished at this size, or at an eighth of the limit; it is deleted when all in it is done."""
SUFFIX = ".spool"


class SpoolFullError(Exception):
    """The spool can't take more: at its limit, or the disk is full or broken; the message says which."""


class SpoolInUseError(Exception):
    """Another daemon has opened the spool."""


@dataclass
class _File:
    path: Path
    size: int
    readings: int
    records: int


class Spool:
    """The records in one folder; for one process (it is locked) and one thread at a time.

    `damaged_records` and `damaged_readings` count what was found torn (readings as far as headers tell).
    """

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder = folder
        self.limit_bytes = limit_bytes
        self._file_bytes = max(min(FILE_BYTES, limit_bytes // 8), 1)
        self._lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise SpoolInUseError(f"the spool {folder} is in use by another daemon") from None
        self.damaged_records = 0
        self.damaged_readings = 0
        self._number = 0
        # The last one is being written as long as _writer is not None.
        self._files: deque[_File] = deque()
        self._writer: int | None = None
        # What waits in the first file, as soon as somebody has looked.
        self._head: deque[Record] | None = None
        for path in sorted(folder.glob(f"*{SUFFIX}")):
            if path.stem.isdecimal():
                self._adopt(path)

    @property
    def readings(self) -> int:
        """How many readings wait."""
        return sum(file.readings for file in self._files)

    @property
    def size_bytes(self) -> int:
        """How much disk the files take; also 0 when nothing waits."""
        return sum(file.size for file in self._files)

    def __len__(self) -> int:
        """How many records wait."""
        return sum(file.records for file in self._files)

    def append(self, payload: bytes, readings: int) -> None:
        """Write a record and wait until it is on the disk; raises SpoolFullError, and is unchanged then."""
        data = encode(payload, readings)
        if self.size_bytes + len(data) > self.limit_bytes:
            raise SpoolFullError(f"the spool has reached its limit of {self.limit_bytes >> 20} MB")
        try:
            writer = self._writer if self._writer is not None else self._begin_file()
        except OSError as error:
            raise SpoolFullError(f"no new file in the spool: {error.strerror}") from error
        file = self._files[-1]
        try:
            _write(writer, data)
            os.fdatasync(writer)
        except OSError as error:
            self._give_up_writing(file)
            raise SpoolFullError(f"the spool can't be written: {error.strerror}") from error
        file.size += len(data)
        file.readings += readings
        file.records += 1
        if file.size >= self._file_bytes:
            self._finish_file()

    def peek(self, readings: int) -> list[Record]:
        """The oldest records, at least one if any waits, together at most about so many readings."""
        while self._head is None and self._files:
            self._look_into_first_file()
        taken: list[Record] = []
        total = 0
        for record in self._head or ():
            if taken and total + record.readings > readings:
                break
            taken.append(record)
            total += record.readings
        return taken

    def acknowledge(self, count: int, *, durably: bool = False) -> None:
        """The oldest `count` records of the last `peek` are done and never seen again.

        Not `durably` they may come again when the machine loses power, and only then.
        """
        if not count or self._head is None:
            return
        file = self._files[0]
        descriptor = os.open(file.path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            for _ in range(count):
                record = self._head.popleft()
                file.readings -= record.readings
                file.records -= 1
                # On a full disk it may fail where files are never overwritten in place: then it comes again.
                with contextlib.suppress(OSError):
                    os.pwrite(descriptor, DONE, record.offset + STATE_OFFSET)
            if durably:
                with contextlib.suppress(OSError):
                    os.fdatasync(descriptor)
        finally:
            os.close(descriptor)
        if not self._head:
            self._drop_first_file()

    def close(self) -> None:
        """Let another daemon have the folder."""
        if self._writer is not None:
            self._finish_file()
        os.close(self._lock)

    def _adopt(self, path: Path) -> None:
        self._number = max(self._number, int(path.stem))
        readings = records = 0
        data = path.read_bytes()
        for found in waiting_records(data):
            if isinstance(found, Damage):
                self.damaged_records += 1
                self.damaged_readings += found.readings
            else:
                readings += found.readings
                records += 1
        if records:
            self._files.append(_File(path, len(data), readings, records))
        else:
            path.unlink()

    def _begin_file(self) -> int:
        # A number is used once: what a failed attempt left behind is not continued.
        self._number += 1
        path = self.folder / f"{self._number:012}{SUFFIX}"
        writer = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            _sync_folder(self.folder)
        except OSError:
            os.close(writer)
            path.unlink()
            raise
        self._files.append(_File(path, 0, 0, 0))
        self._writer = writer
        return writer

    def _finish_file(self) -> None:
        if self._writer is not None:
            os.close(self._writer)
            self._writer = None
        if self._files and not self._files[-1].records:
            self._files.pop().path.unlink()

    def _give_up_writing(self, file: _File) -> None:
        # Half a record must not stay: it would count as damage at the next start.
        if self._writer is not None:
            with contextlib.suppress(OSError):
                os.ftruncate(self._writer, file.size)
        self._finish_file()

    def _look_into_first_file(self) -> None:
        # From now on it only shrinks: what comes goes into another file.
        if len(self._files) == 1:
            self._finish_file()
        if not self._files:
            return
        file = self._files[0]
        try:
            found = [
                record for record in waiting_records(file.path.read_bytes()) if isinstance(record, Record)
            ]
        except OSError:
            found = []
        readings = sum(record.readings for record in found)
        # It was whole when it was counted. There may be more where a failed write could not be taken back.
        self.damaged_records += max(file.records - len(found), 0)
        self.damaged_readings += max(file.readings - readings, 0)
        file.records, file.readings = len(found), readings
        if found:
            self._head = deque(found)
        else:
            self._drop_first_file()

    def _drop_first_file(self) -> None:
        self._head = None
        self._files.popleft().path.unlink(missing_ok=True)


def _write(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
