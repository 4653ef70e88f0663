"""The spool on a real disk, torn and full on purpose."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest_daemon import spool as spool_module
from ingest_daemon.spool import Spool, SpoolFullError, SpoolInUseError
from ingest_daemon.spool_record import Damage, Record, encode, waiting_records

MB = 1 << 20


def drain(spool: Spool, step: int = 100) -> list[bytes]:
    found = []
    while records := spool.peek(step):
        found += [record.payload for record in records]
        spool.acknowledge(len(records))
    return found


def append_until_full(spool: Spool, times: int) -> tuple[int, str]:
    for number in count():
        try:
            spool.append(payload(number) * times, 1)
        except SpoolFullError as error:
            return number, str(error)
    raise AssertionError


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.spool"))


def payload(number: int) -> bytes:
    return f"{number:06}".encode() * 20


def test_what_went_in_comes_out_in_order_and_leaves_no_file(tmp_path: Path) -> None:
    spool = Spool(tmp_path, MB)
    for number in range(50):
        spool.append(payload(number), 2)
    assert (len(spool), spool.readings) == (50, 100)
    assert spool.size_bytes == sum(path.stat().st_size for path in files(tmp_path))
    assert drain(spool, 7) == [payload(number) for number in range(50)]
    assert (len(spool), spool.readings, spool.size_bytes, files(tmp_path)) == (0, 0, 0, [])


def test_what_is_not_acknowledged_comes_again_after_a_restart_and_the_rest_does_not(tmp_path: Path) -> None:
    spool = Spool(tmp_path, MB)
    for number in range(10):
        spool.append(payload(number), 1)
    spool.peek(3)
    spool.acknowledge(3)
    spool.peek(5)
    spool.close()
    again = Spool(tmp_path, MB)
    assert again.readings == 7
    again.append(payload(10), 1)
    assert drain(again) == [payload(number) for number in range(3, 11)]
    assert again.damaged_records == 0


def test_while_it_is_read_more_can_be_written(tmp_path: Path) -> None:
    spool = Spool(tmp_path, MB)
    expected = []
    found = []
    for number in range(200):
        expected.append(payload(number))
        spool.append(payload(number), 1)
        if number % 3 == 0:
            records = spool.peek(2)
            found += [record.payload for record in records]
            spool.acknowledge(len(records))
    assert found + drain(spool) == expected
    assert files(tmp_path) == []


def test_beyond_its_limit_it_takes_nothing_and_goes_on_when_there_is_room(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 20_000)
    taken, why = append_until_full(spool, 1)
    assert "limit" in why
    assert spool.readings == taken
    assert sum(path.stat().st_size for path in files(tmp_path)) <= 20_000
    records = spool.peek(taken // 2)
    spool.acknowledge(len(records))
    spool.append(payload(taken), 1)
    assert drain(spool) == [payload(number) for number in range(len(records), taken + 1)]


def test_two_daemons_do_not_share_a_spool(tmp_path: Path) -> None:
    first = Spool(tmp_path, MB)
    with pytest.raises(SpoolInUseError, match=str(tmp_path)):
        Spool(tmp_path, MB)
    first.close()
    Spool(tmp_path, MB).close()


@pytest.mark.parametrize("kept", range(1, 145, 11))
def test_a_record_cut_off_anywhere_is_counted_and_costs_no_other(tmp_path: Path, kept: int) -> None:
    spool = Spool(tmp_path, MB)
    for number in range(3):
        spool.append(payload(number), 4)
    spool.close()
    [path] = files(tmp_path)
    size = path.stat().st_size // 3
    assert size == 144
    os.truncate(path, 2 * size + kept % size)
    again = Spool(tmp_path, MB)
    assert again.damaged_records == (1 if kept % size else 0)
    # Only a whole header tells how many readings there were.
    assert again.damaged_readings == (4 if kept % size >= 24 else 0)
    again.append(payload(3), 4)
    assert drain(again) == [payload(0), payload(1), payload(3)]


def test_a_bad_sector_in_the_middle_costs_what_lay_there_and_no_more(tmp_path: Path) -> None:
    spool = Spool(tmp_path, MB)
    for number in range(9):
        spool.append(payload(number), 1)
    spool.close()
    [path] = files(tmp_path)
    data = bytearray(path.read_bytes())
    # The end of record 3 and the header of record 4; and one byte of record 7.
    data[4 * 144 - 10 : 4 * 144 + 24] = bytes(34)
    data[7 * 144 + 100] ^= 1
    path.write_bytes(data)
    again = Spool(tmp_path, MB)
    assert drain(again) == [payload(number) for number in (0, 1, 2, 5, 6, 8)]
    assert again.damaged_records >= 2


def test_damage_that_comes_while_it_runs_is_counted_too(tmp_path: Path) -> None:
    spool = Spool(tmp_path, MB)
    for number in range(4):
        spool.append(payload(number), 5)
    [path] = files(tmp_path)
    data = bytearray(path.read_bytes())
    data[144 + 100] ^= 1
    path.write_bytes(data)
    assert drain(spool) == [payload(0), payload(2), payload(3)]
    assert (spool.damaged_records, spool.damaged_readings, spool.readings) == (1, 5, 0)


@given(
    st.lists(st.binary(max_size=60), max_size=8),
    st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 255)), max_size=5),
    st.integers(0, 1000),
)
def test_no_bytes_in_a_file_are_fatal_and_no_record_is_invented(
    payloads: list[bytes], changes: list[tuple[int, int]], end: int
) -> None:
    data = bytearray(b"".join(encode(each, 1) for each in payloads))
    for position, value in changes:
        if position < len(data):
            data[position] = value
    found = [each.payload for each in waiting_records(bytes(data[:end])) if isinstance(each, Record)]
    rest = iter(payloads)
    assert all(each in rest for each in found)


@given(st.binary(max_size=300))
def test_any_garbage_is_read_to_its_end(data: bytes) -> None:
    found = list(waiting_records(data))
    assert all(isinstance(each, Damage) for each in found)
    assert bool(found) == bool(data)


def test_a_record_is_on_the_disk_when_it_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(spool_module.os, "fdatasync", lambda file: synced.append(os.fstat(file).st_size))
    spool = Spool(tmp_path, MB)
    for number in range(3):
        spool.append(payload(number), 1)
        assert synced[-1] == 144 * (number + 1)
    assert len(synced) == 3


class FullDisk:
    """Stands for os.write on a disk with room for so many bytes more."""

    def __init__(self, room: int) -> None:
        self.room = room

    def __call__(self, descriptor: int, data: memoryview) -> int:
        if not self.room:
            raise OSError(28, "No space left on device")
        written = min(len(data), self.room)
        self.room -= written
        return _write(descriptor, data[:written])


_write = os.write


def test_a_disk_that_fills_up_in_the_middle_of_a_record_leaves_no_half_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = FullDisk(2 * 144 + 50)
    monkeypatch.setattr(spool_module.os, "write", disk)
    spool = Spool(tmp_path, MB)
    spool.append(payload(0), 1)
    spool.append(payload(1), 1)
    for _ in range(3):
        with pytest.raises(SpoolFullError, match="No space left"):
            spool.append(payload(2), 1)
    disk.room = 10 * 144
    spool.append(payload(2), 1)
    assert spool.readings == 3
    spool.close()
    again = Spool(tmp_path, MB)
    assert (drain(again), again.damaged_records) == ([payload(0), payload(1), payload(2)], 0)


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can mount a small disk"
)
def test_on_a_disk_that_is_really_full_it_goes_on_as_soon_as_there_is_room(small_disk: Path) -> None:
    spool = Spool(small_disk / "spool", 64 * MB)
    taken, why = append_until_full(spool, 50)
    assert "No space left" in why
    assert taken > 20
    for _ in range(3):
        with pytest.raises(SpoolFullError):
            spool.append(payload(taken) * 50, 1)
    # Reading makes room, and needs none.
    records = spool.peek(taken)
    spool.acknowledge(len(records))
    assert [record.payload for record in records] == [payload(number) * 50 for number in range(len(records))]
    spool.append(payload(taken) * 50, 1)
    assert drain(spool) == [payload(number) * 50 for number in range(len(records), taken + 1)]


WRITE_UNTIL_KILLED = """
import sys
from pathlib import Path
from ingest_daemon.spool import Spool

spool = Spool(Path(sys.argv[1]), 1 << 24)
number = int(sys.argv[2])
while True:
    spool.append(b"%06d" % number * 20, 1)
    sys.stdout.write(f"{number}\\n")
    sys.stdout.flush()
    number += 1
    if number % 5 == 0:
        records = spool.peek(2)
        sys.stdout.write("".join(f"-{int(record.payload[:6])}\\n" for record in records))
        sys.stdout.flush()
        spool.acknowledge(len(records))
"""


def test_whoever_is_killed_while_writing_loses_nothing_that_was_written(tmp_path: Path) -> None:
    chance = random.Random(7)
    written: list[int] = []
    read: set[int] = set()
    for _ in range(6):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITE_UNTIL_KILLED, str(tmp_path), str(max(written, default=0) + 2)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(chance.randint(1, 300))]
        process.send_signal(signal.SIGKILL)
        lines += process.stdout.read().splitlines()
        process.wait()
        numbers = [int(line) for line in lines if line.strip()]
        written += [number for number in numbers if number > 0]
        read |= {-number for number in numbers if number < 0}
    spool = Spool(tmp_path, 1 << 24)
    assert spool.damaged_records <= 6
    rest = [int(each[:6]) for each in drain(spool)]
    assert rest == sorted(rest)
    # What was about to be acknowledged may come again; what was about to be told may be there.
    assert set(written) <= set(rest) | read
