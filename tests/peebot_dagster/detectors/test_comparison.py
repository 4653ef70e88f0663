from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from peebot_dagster.detectors.comparison import compare, counts, to_json
from peebot_dagster.detectors.detector import DetectedEvent, event_id

NOON = datetime(2025, 1, 10, 12, tzinfo=UTC)


def visit(
    minute: float, version: str = "1", event_type: str = "toilet_visit", amount: int = 3
) -> DetectedEvent:
    at = NOON + timedelta(minutes=minute)
    return DetectedEvent(
        event_id=event_id("urine_tank", "NODE3000005", at),
        detector="urine_tank",
        detector_version=version,
        event_type=event_type,
        item="NODE3000005",
        started_at=at,
        ended_at=at + timedelta(seconds=20),
        state="closed",
        confidence=0.95,
        payload={"amount_percent": amount},
    )


def test_events_that_differ_only_in_the_version_are_the_same() -> None:
    compared = compare([visit(0), visit(60)], [visit(60, "2"), visit(0, "2")])
    assert [event.started_at for event in compared.same] == [NOON, NOON + timedelta(hours=1)]
    assert (compared.changed, compared.gone, compared.new) == ((), (), ())


def test_a_change_names_what_differs() -> None:
    after = replace(visit(0, "2", "tank_transfer", amount=12), confidence=0.5)
    (change,) = compare([visit(0)], [after]).changed
    assert change.fields == ("event_type", "confidence", "payload.amount_percent")


def test_an_event_that_moved_a_little_is_a_change_and_no_pair_of_strangers() -> None:
    compared = compare([visit(0), visit(90)], [visit(0.5), visit(200)])
    assert [change.fields for change in compared.changed] == [("event_id", "started_at", "ended_at")]
    assert [event.started_at for event in compared.gone] == [NOON + timedelta(minutes=90)]
    assert [event.started_at for event in compared.new] == [NOON + timedelta(minutes=200)]


def test_each_event_is_paired_with_the_nearest_and_only_once() -> None:
    compared = compare([visit(0), visit(1)], [visit(1.2)])
    assert [change.before.started_at for change in compared.changed] == [NOON + timedelta(minutes=1)]
    assert [event.started_at for event in compared.gone] == [NOON]


def test_the_counts_are_by_the_event_type_of_the_older_version() -> None:
    compared = compare([visit(0), visit(60)], [visit(0), visit(60, event_type="dribble"), visit(200)])
    assert counts(compared) == {"toilet_visit": {"same": 1, "changed": 1, "gone": 0, "new": 1}}
    assert to_json(compared)["same"] == 1


@given(st.sets(st.integers(0, 300), max_size=30), st.sets(st.integers(0, 300), max_size=30), st.randoms())
def test_no_event_is_lost_or_counted_twice_in_any_order(before: set[int], after: set[int], random) -> None:
    old, new = [visit(m) for m in before], [visit(m, "2", amount=m % 3) for m in after]
    compared = compare(old, new)
    seen_before = [*compared.same, *(c.before for c in compared.changed), *compared.gone]
    seen_after = [*compared.same, *(c.after for c in compared.changed), *compared.new]
    assert sorted(e.started_at for e in seen_before) == sorted(e.started_at for e in old)
    assert sorted(e.started_at for e in seen_after) == sorted(e.started_at for e in new)
    random.shuffle(old)
    random.shuffle(new)
    assert compare(old, new) == compared
