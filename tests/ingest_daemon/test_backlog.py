from __future__ import annotations

import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest_daemon import backlog as backlog_module
from ingest_daemon.backlog import Backlog
from ingest_daemon.link import LinkState, Transition
from ingest_daemon.portion import Origin, Portion, PortionError, decode, encode, first_joined
from ingest_daemon.reading import Reading, Rejection
from ingest_daemon.spool import Spool, SpoolFullError

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
ORIGIN = Origin("run", "isslive", continues=True)

moments = st.datetimes(datetime(1990, 1, 1), datetime(2090, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
readings = st.builds(
    Reading,
    texts, moments, moments, st.none() | st.floats(allow_nan=False, allow_infinity=False), texts,
    st.none() | st.integers(-9999, 9999), st.booleans(), st.integers(-(2**63), 2**63 - 1),
)  # fmt: skip
fields = st.dictionaries(texts, st.none() | texts | st.integers(), max_size=4)
rejections = st.builds(Rejection, texts, fields, texts, moments)
transitions = st.builds(Transition, st.sampled_from(LinkState), moments)
portions = st.builds(
    Portion,
    st.builds(Origin, texts, texts, st.booleans()),
    st.lists(readings, max_size=3), st.lists(rejections, max_size=3),
    st.none() | transitions, st.none() | moments,
)  # fmt: skip


def reading(number: int) -> Reading:
    return Reading("A", NOON + timedelta(seconds=number), NOON, float(number), str(number), 24, False, number)


def numbered(*numbers: int, **more: object) -> Portion:
    return Portion(ORIGIN, [reading(number) for number in numbers], [], **more)  # type: ignore[arg-type]


@given(portions)
def test_a_portion_comes_back_from_the_disk_as_it_was(portion: Portion) -> None:
    assert decode(encode(portion)) == portion


@given(st.binary(max_size=50))
def test_bytes_that_hold_no_portion_are_refused(data: bytes) -> None:
    with pytest.raises(PortionError):
        decode(data)


def test_a_transition_ends_a_portion_and_another_run_begins_one() -> None:
    lost = Transition(LinkState.LOS, NOON)
    other = Portion(Origin("other", "isslive", continues=False), [reading(9)])
    heard = [numbered(1), numbered(2), Portion(ORIGIN, transition=lost), numbered(3), other]
    assert first_joined(heard, 100) == (numbered(1, 2, transition=lost), 3)
    assert first_joined(heard[3:], 100) == (numbered(3), 1)
    confirmed = [Portion(ORIGIN, seen_at=NOON), Portion(ORIGIN, transition=lost)]
    assert first_joined(confirmed, 100)[1] == 1
    assert first_joined([numbered(1, 2, 3), numbered(4)], 3)[1] == 1


class Disk:
    """A spool that can be full."""

    def __init__(self, folder: Path) -> None:
        self.spool = Spool(folder, 1 << 20)
        self.is_full = False
        self._append = self.spool.append
        self.spool.append = self.append  # type: ignore[method-assign]

    def append(self, payload: bytes, readings: int) -> None:
        if self.is_full:
            raise SpoolFullError("full")
        self._append(payload, readings)


STEPS = st.lists(st.sampled_from(["put", "spool", "take", "done", "full", "room", "restart"]), max_size=60)


@given(STEPS, st.integers(1, 7))
def test_all_that_is_put_comes_in_order_and_again_until_it_is_done(steps: Sequence[str], batch: int) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(backlog_module, "BATCH", batch)
        disk = Disk(Path(folder))
        backlog = Backlog(disk.spool)
        put = 0
        # What waits, as far as a process that is killed now would leave it; and what waits in memory.
        done: list[int] = []
        taken = None
        safe = 0
        for step in steps:
            if step == "put":
                backlog.put(numbered(put, put + 1))
                put += 2
            elif step == "spool":
                try:
                    backlog.move_to_disk()
                    safe = put
                except SpoolFullError:
                    assert disk.is_full
            elif step in ("full", "room"):
                disk.is_full = step == "full"
            elif step == "take":
                taken = backlog.take()
            elif step == "done" and taken is not None:
                done += [each.event_id for each in taken.portion.readings]
                backlog.done(taken)
                taken = None
            elif step == "restart":
                disk.spool.close()
                put = max(safe, max(done, default=-1) + 1)
                disk = Disk(Path(folder))
                backlog = Backlog(disk.spool)
                taken = None
        while taken := backlog.take():
            done += [each.event_id for each in taken.portion.readings]
            backlog.done(taken)
        # In order, save that what went to the disk while it was being stored comes once more.
        first_time = list(dict.fromkeys(done))
        assert first_time == list(range(put))
        assert not backlog.is_in_memory()
        assert not backlog.is_on_disk()
        disk.spool.close()


def test_a_record_of_another_version_is_left_out_and_counted(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 1 << 20)
    backlog = Backlog(spool)
    backlog.put(numbered(1))
    backlog.move_to_disk()
    spool.append(b"from the future", 3)
    backlog.put(numbered(2))
    backlog.move_to_disk()
    found = []
    while taken := backlog.take():
        found += [each.event_id for each in taken.portion.readings]
        backlog.done(taken)
    assert found == [1, 2]
    assert (backlog.take_damage(), backlog.take_damage()) == ((1, 3), (0, 0))
