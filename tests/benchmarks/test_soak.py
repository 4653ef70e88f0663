"""The soak's judgement: what counts as growing, lost, missed, invented and doubled."""

from __future__ import annotations

import math
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

import pytest

from benchmarks.harness import soak_events, soak_readings
from benchmarks.harness.slopes import Sample, Trend, trend
from benchmarks.harness.soak_events import EventsVerdict, Happened
from benchmarks.harness.soak_faults import FEED, KILLS, plan
from benchmarks.harness.soak_readings import Key, ReadingsVerdict, Said, Stretch
from benchmarks.harness.soak_verdict import broken_promises, memory_is_judged
from peebot_dagster.detectors.detector import DetectedEvent, EventState
from peebot_dagster.detectors.registry import get

NOON = datetime(2026, 1, 10, 12, tzinfo=UTC)
SLACK = timedelta(seconds=0.5)
SPAN = Stretch(NOON - timedelta(hours=1), NOON + timedelta(hours=1))
URINE_TANK = get("urine_tank")


def at(second: float) -> datetime:
    return NOON + timedelta(seconds=second)


def stretch(start: float, end: float) -> Stretch:
    return Stretch(at(start), at(end))


# How fast something grows


def test_a_steady_growth_is_told_an_hour() -> None:
    told = trend([Sample(at, 1, 100 + at / 360) for at in range(0, 3600, 10)], warm_up_s=0)
    assert told is not None
    assert told.per_hour == pytest.approx(10)
    assert told.growth == pytest.approx(10, rel=0.01)


def test_a_restart_is_no_growth_and_no_shrinking() -> None:
    lives = [Sample(at, at // 1000, 100 + 50 * (at // 1000)) for at in range(0, 3000, 10)]
    told = trend(lives, warm_up_s=60)
    assert told is not None
    assert told.per_hour == pytest.approx(0)


def test_what_a_life_begins_with_is_left_out() -> None:
    told = trend([Sample(at, 1, min(at, 120)) for at in range(0, 3600, 10)], warm_up_s=120)
    assert told is not None
    assert told.per_hour == pytest.approx(0)


def test_of_too_little_no_growth_is_told() -> None:
    assert trend([Sample(0, 1, 5), Sample(10, 1, 6)], warm_up_s=0) is None
    assert trend([], warm_up_s=0) is None


# Readings


def key(second: float, value: str = "1", item: str = "A") -> Key:
    return item, at(second), value, 24


def said(second: float, listeners: int = 1, value: str = "1") -> Said:
    return Said(at(second).timestamp(), listeners, key(second, value))


ALL = [stretch(0, 100)]


def test_what_was_said_and_is_stored_is_all_right() -> None:
    verdict = soak_readings.compare([said(1), said(2)], [key(1), key(2)], ALL, SLACK)
    assert (verdict.said, verdict.stored) == (2, 2)
    assert (verdict.skipped, verdict.lost, verdict.strange, verdict.doubled) == (0, 0, 0, 0)


def test_a_reading_that_is_missing_while_the_link_says_live_is_lost() -> None:
    verdict = soak_readings.compare([said(1), said(50)], [key(1)], ALL, SLACK)
    assert (verdict.lost, verdict.skipped) == (1, 0)


@pytest.mark.parametrize("second", [40.2, 50, 59.8])
def test_a_reading_that_is_missing_while_the_link_says_nothing_or_at_its_edge_is_skipped(
    second: float,
) -> None:
    live = [stretch(0, 40.1), stretch(60, 100)]
    verdict = soak_readings.compare([said(1), said(second)], [key(1)], live, SLACK)
    assert (verdict.lost, verdict.skipped) == (0, 1)


def test_what_nobody_could_hear_yet_and_what_comes_after_the_end_is_not_asked_for() -> None:
    updates = [said(1, listeners=0), said(2), said(3)]
    verdict = soak_readings.compare(updates, [key(2)], ALL, SLACK, until=at(3).timestamp())
    assert (verdict.said, verdict.lost, verdict.skipped) == (1, 0, 0)


def test_a_row_that_was_never_said_is_strange_and_one_that_is_there_twice_is_doubled() -> None:
    verdict = soak_readings.compare([said(1)], [key(1), key(1), key(1, "7")], ALL, SLACK)
    assert (verdict.strange, verdict.doubled) == (1, 1)


# Events


def happened(second: float, kind: str = "visit", masked: bool = False) -> Happened:
    return Happened(kind, at(second), at(second + 40), masked)


def event(
    second: float,
    event_type: str = "toilet_visit",
    state: EventState = "closed",
    detector: str = "urine_tank",
) -> DetectedEvent:
    moment = at(second)
    return DetectedEvent(uuid.uuid4(), detector, "1", event_type, "A", moment, moment, state, 0.9, {})


def judged(
    truth: list[Happened],
    events: list[DetectedEvent],
    ideal: list[DetectedEvent],
    hidden: list[Stretch] | None = None,
) -> EventsVerdict:
    return soak_events.compare(URINE_TANK, truth, events, ideal, ideal, hidden or [], SPAN)


def test_an_event_for_each_truth_is_all_right() -> None:
    verdict = judged([happened(0), happened(300)], [event(2), event(301)], [event(0), event(300)])
    assert (verdict.true, verdict.missed, verdict.invented, verdict.doubled) == (2, (), (), ())


def test_a_truth_in_sight_without_an_event_is_missed() -> None:
    assert len(judged([happened(0)], [], [event(0)]).missed) == 1


def test_a_truth_that_the_detector_does_not_find_on_the_unbroken_feed_either_is_not_missed() -> None:
    assert judged([happened(0)], [], []).missed == ()


def test_a_truth_that_a_fault_or_a_lost_signal_hid_is_not_missed() -> None:
    verdict = judged([happened(0)], [], [event(0)], [stretch(20, 30)])
    assert (verdict.hidden, verdict.missed) == (1, ())
    assert judged([happened(0, masked=True)], [], [event(0)]).missed == ()


def test_an_event_of_which_the_unbroken_feed_says_nothing_is_invented() -> None:
    assert len(judged([], [event(0)], []).invented) == 1
    assert judged([], [event(0)], [event(1)]).invented == ()
    assert judged([], [event(0)], [], [stretch(-60, -50)]).invented == ()


def test_a_second_event_of_a_truth_is_doubled_even_after_a_fault() -> None:
    verdict = judged([happened(0)], [event(0), event(20)], [event(0)], [stretch(5, 15)])
    assert (len(verdict.doubled), verdict.invented) == (1, ())


def test_another_detectors_events_and_the_time_outside_do_not_count() -> None:
    assert judged([], [event(0, detector="orbit"), event(7200)], []).invented == ()


def test_two_posts_of_one_visit_are_one_too_many() -> None:
    first, second = event(0), event(20)
    posted = [(told.event_id, "dry_run", "dry_run") for told in (first, second)]
    verdict = soak_events.with_posts(judged([], [], []), [happened(0)], [first, second], posted, [])
    assert (verdict.posted, len(verdict.posted_twice)) == (2, 1)
    verdict = soak_events.with_posts(judged([], [], []), [happened(0)], [first], posted[:1] * 2, [])
    assert len(verdict.posted_twice) >= 1


def test_what_the_timeline_was_asked_to_post_must_be_what_the_ledger_says() -> None:
    sent, unknown, lost = event(0), event(100), event(200)
    posted = [
        (sent.event_id, "mastodon", "sent"),
        (unknown.event_id, "mastodon", "unknown"),
        (lost.event_id, "mastodon", "sent"),
    ]
    happenings, events = [happened(0), happened(100), happened(200)], [sent, unknown, lost]

    def verdict(*asked: str) -> EventsVerdict:
        return soak_events.with_posts(judged([], [], []), happenings, events, posted, asked)

    assert verdict(str(sent.event_id), str(lost.event_id)).astray == ()
    assert verdict(*(str(told.event_id) for told in events)).posted_twice == ()
    assert "never came" in verdict(str(sent.event_id)).astray[0]
    assert "no row" in verdict(str(sent.event_id), str(lost.event_id), "another").astray[0]
    assert "2 times" in verdict(*[str(sent.event_id)] * 2, str(lost.event_id)).posted_twice[0]


def test_what_the_station_did_not_say_by_itself_is_hidden_by_no_fault() -> None:
    link = {"LIVE": [stretch(0, 100), stretch(160, 300)], "LOS": [stretch(100, 160)], "DOWN": []}
    loss = Happened("los", at(102), at(158), masked=True)
    assert soak_events.hidden_by_faults(link, [loss], at(0), at(300)) == []
    assert soak_events.hidden_by_faults(link, [], at(0), at(310)) == [stretch(100, 160), stretch(300, 310)]


def test_the_unbroken_feed_is_live_but_for_the_stations_own_losses() -> None:
    loss = Happened("los", at(100), at(160), masked=True)
    updates = [Said(0.0, 0, key(-500, "5")), said(0), said(1, value="open")]
    window = soak_events.unbroken(updates, [loss], ["A"], at(300))
    assert window.live is not None
    assert window.lost is not None
    assert [(part.start, part.end) for part in window.live] == [stretch(0, 100), stretch(160, 300)]
    assert [(part.start, part.end) for part in window.lost] == [stretch(100, 160)]
    values = list(window.readings["value"])
    assert values[:2] == [5.0, 1.0]
    assert math.isnan(values[2])


# Faults and verdict


def test_a_seed_plans_the_same_faults_and_processes_are_killed_in_the_first_part_only() -> None:
    planned = list(islice(plan(7, 3600, 60), 200))
    assert planned == list(islice(plan(7, 3600, 60), 200))
    assert planned != list(islice(plan(8, 3600, 60), 200))
    names = {fault.name for fault in planned}
    assert names == {*FEED, *KILLS, "postgres", "disconnect"}
    assert not any(fault.name in KILLS for fault in planned[-50:])


GOOD_READINGS = ReadingsVerdict(said=10, stored=10, skipped=3, lost=0, strange=0, doubled=0)
GOOD_EVENTS = EventsVerdict(3, 1, 4, (), (), (), 2, ())
FLAT = {"ingest": Trend(per_hour=20, hours=1, mean=100, most=110), "live": None}
FLAT_DISK = {"postgres": Trend(per_hour=50, hours=1, mean=100, most=150), "logs": None}


def test_a_soak_without_a_loss_has_broken_nothing() -> None:
    assert broken_promises(GOOD_READINGS, GOOD_EVENTS, FLAT, FLAT_DISK, spool_bytes=0) == []


@dataclass(frozen=True)
class Broken:
    readings: ReadingsVerdict = GOOD_READINGS
    events: EventsVerdict = GOOD_EVENTS
    trend: Trend = FLAT["ingest"]  # type: ignore[assignment]
    folder: Trend | None = None
    spool_bytes: int = 0


@pytest.mark.parametrize(
    ("what", "told"),
    [
        (Broken(readings=ReadingsVerdict(0, 0, 0, 0, 0, 0)), "nothing was measured"),
        (Broken(readings=ReadingsVerdict(9, 8, 0, 1, 0, 0)), "1 readings lost"),
        (Broken(readings=ReadingsVerdict(9, 10, 0, 0, 1, 0)), "never sent"),
        (Broken(readings=ReadingsVerdict(9, 10, 0, 0, 0, 1)), "stored twice"),
        (Broken(events=EventsVerdict(1, 0, 0, ("visit",), (), (), 1, ())), "missed"),
        (Broken(events=EventsVerdict(1, 0, 0, (), ("visit",), (), 1, ())), "did not happen"),
        (Broken(events=EventsVerdict(1, 0, 0, (), (), ("visit",), 1, ())), "told twice"),
        (Broken(events=EventsVerdict(1, 0, 0, (), (), (), 2, ("visit",))), "posts too many"),
        (Broken(events=EventsVerdict(1, 0, 0, (), (), (), 1, (), ("one",))), "disagree"),
        (Broken(events=EventsVerdict(0, 8, 0, (), (), (), 0, ())), "of events nothing was measured"),
        (Broken(events=EventsVerdict(1, 0, 0, (), (), (), 0, ())), "of posts nothing was measured"),
        (Broken(trend=Trend(60, 1, 100, 160)), "ingest grows by 60 MB an hour"),
        (Broken(folder=Trend(60, 1, 100, 160)), "folder of logs grows by 60 MB an hour"),
        (Broken(spool_bytes=7), "spool still holds 7 bytes"),
    ],
)
def test_each_broken_promise_is_told(what: Broken, told: str) -> None:
    memory, disk = {"ingest": what.trend}, {"logs": what.folder}
    (promise,) = broken_promises(what.readings, what.events, memory, disk, what.spool_bytes)
    assert told in promise


def test_what_the_readings_take_on_disk_is_no_growth_without_a_reason() -> None:
    readings = ReadingsVerdict(said=200_000, stored=200_000, skipped=0, lost=0, strange=0, doubled=0)
    assert broken_promises(readings, GOOD_EVENTS, FLAT, {"postgres": Trend(140, 1, 200, 270)}, 0) == []
    (promise,) = broken_promises(readings, GOOD_EVENTS, FLAT, {"postgres": Trend(160, 1, 200, 270)}, 0)
    assert "folder of postgres grows by 160 MB" in promise


def test_postgres_may_fill_its_shared_buffers_and_no_other_process_may() -> None:
    grown = Trend(per_hour=80, hours=1.15, mean=96, most=128)
    for name, told in (("postgres", 0), ("ingest", 1)):
        broken = broken_promises(
            GOOD_READINGS, GOOD_EVENTS, {name: grown}, FLAT_DISK, 0, shared_buffers_mb=134
        )
        assert len(broken) == told
    grown = Trend(per_hour=180, hours=1.15, mean=96, most=300)
    assert broken_promises(GOOD_READINGS, GOOD_EVENTS, {"postgres": grown}, FLAT_DISK, 0, 134) != []


def test_a_process_that_was_hardly_looked_at_is_not_said_to_grow() -> None:
    hardly = {"ingest": Trend(900, 0.1, 100, 190), "live": None}
    assert broken_promises(GOOD_READINGS, GOOD_EVENTS, hardly, hardly, 0) == []
    assert not memory_is_judged(hardly)
    assert memory_is_judged(FLAT)


def test_a_log_line_that_is_still_being_written_is_left_out_and_times_are_the_stores(tmp_path: Path) -> None:
    log = tmp_path / "said.tsv"
    log.write_text(
        "0.000\t0\tA\t7933.53848621972\t1\t24\n1795699980.083\t1\tA\t7933.55\topen\t24\n1795", "utf-8"
    )
    first, second = soak_readings.read_log(log, 2026)
    assert first == Said(0.0, 0, ("A", datetime(2026, 11, 26, 13, 32, 18, 550_000, UTC), "1", 24))
    assert (second.at, second.listeners, second.key[2]) == (1795699980.083, 1, "open")


def test_an_update_without_a_value_is_no_reading_and_not_lost() -> None:
    verdict = soak_readings.compare([said(1), said(2, value="")], [key(1)], ALL, SLACK)
    assert (verdict.said, verdict.lost, verdict.refused) == (2, 0, 1)
