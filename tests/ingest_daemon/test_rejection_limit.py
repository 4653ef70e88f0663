from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from ingest_daemon.reading import Rejection
from ingest_daemon.rejection_limit import RejectionLimit

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def rejection(reason: str, seconds: float, **fields: object) -> Rejection:
    return Rejection("NODE3000005", fields, reason, NOON + timedelta(seconds=seconds))


def test_beyond_a_hundred_a_minute_they_are_only_counted() -> None:
    limit = RejectionLimit()
    admitted = limit.admit(rejection("value_missing", 0.001 * number) for number in range(5000))
    assert len(admitted) == 100
    assert limit.finished(NOON + timedelta(seconds=59)) == []
    sums = limit.finished(NOON + timedelta(seconds=60))
    assert sums == [Rejection("*", {"suppressed": 4900}, "value_missing", NOON)]
    assert limit.finished(NOON + timedelta(seconds=60)) == []


def test_one_reason_does_not_hide_another() -> None:
    limit = RejectionLimit(per_minute=2)
    admitted = limit.admit([*(rejection("a", 1) for _ in range(10)), rejection("b", 2)])
    assert Counter(each.reason for each in admitted) == {"a": 2, "b": 1}


def test_what_lost_updates_count_is_summed_up() -> None:
    limit = RejectionLimit(per_minute=1)
    limit.admit(rejection("lost_by_server", 1, count=5) for _ in range(4))
    assert limit.finished(None) == [Rejection("*", {"suppressed": 3, "count": 15}, "lost_by_server", NOON)]


def test_equal_rejections_of_one_moment_can_be_told_apart() -> None:
    admitted = RejectionLimit().admit(rejection("value_missing", 1) for _ in range(50))
    assert len({each.received_at for each in admitted}) == 50
    assert max(each.received_at for each in admitted) - NOON < timedelta(seconds=1.001)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 200)), max_size=60), st.integers(1, 4))
def test_every_rejection_is_admitted_or_counted(arrivals: list[tuple[str, int]], per_minute: int) -> None:
    limit = RejectionLimit(per_minute)
    found: list[Rejection] = []
    for reason, second in sorted(arrivals, key=lambda arrival: arrival[1]):
        found += limit.admit([rejection(reason, second)])
    found += limit.finished(None)
    total: Counter[str] = Counter()
    rows: Counter[tuple[str, datetime]] = Counter()
    for each in found:
        count = each.fields.get("suppressed", 1)
        assert isinstance(count, int)
        total[each.reason] += count
        rows[each.reason, each.received_at.replace(second=0, microsecond=0)] += 1
    assert total == Counter(reason for reason, _ in arrivals)
    assert all(count <= per_minute + 1 for count in rows.values())
