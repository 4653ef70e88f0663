"""The simulated station behaves as the real one was measured, and tells the same story each time."""

from __future__ import annotations

import statistics
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iss_simulator.agenda import Rehearsal
from iss_simulator.catalogue import Channel
from iss_simulator.feed import CLOCK_ITEM, Update
from iss_simulator.signal_loss import Gap, SignalLoss, heard
from iss_simulator.station import Station
from iss_simulator.truth import TrueEvent
from iss_simulator.urine_tank import LEVEL_ITEM, STATE_ITEM, UrineTank

SINCE = datetime(2025, 12, 30, tzinfo=UTC)
DAYS = 60
CHANNELS = (
    *(Channel(f"Q{number}", "quantity") for number in range(40)),
    *(Channel(f"S{number}", "state", ("1", "2", "3")) for number in range(20)),
)
HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)


def make_station(seed: int = 1, rehearsal: Rehearsal | None = None) -> Station:
    return Station(seed, SINCE, CHANNELS, rate=8.0, rehearsal=rehearsal)


@pytest.fixture(scope="module", params=[1, pytest.param(2, marks=pytest.mark.slow)])
def tank(request: pytest.FixtureRequest) -> UrineTank:
    """A tank with sixty days behind it, without the losses of the signal."""
    tank = UrineTank(request.param, SINCE, SignalLoss(request.param, SINCE))
    tank.tell(SINCE + timedelta(days=DAYS))
    return tank


def of_kind(tank: UrineTank, kind: str) -> list[TrueEvent]:
    return [event for event in tank.truth if event.kind == kind]


def up_steps(levels: list[int]) -> tuple[int, int]:
    """Σ of the rises, and the number of real changes, that a backlash of width 1 lets through."""
    high, rises, changes = levels[0] + 1, 0, 0
    for level in levels[1:]:
        if level > high:
            rises, changes, high = rises + level - high, changes + 1, level
        elif level < high - 1:
            changes, high = changes + 1, level + 1
    return rises, changes


def test_there_are_about_18_visits_a_day(tank: UrineTank) -> None:
    per_day = Counter(event.started_at.date() for event in of_kind(tank, "visit"))
    deciles = statistics.quantiles(per_day.values(), n=10)
    assert 16 < statistics.mean(per_day.values()) < 21
    assert 11 <= deciles[0] <= 16
    assert 21 <= deciles[-1] <= 27


def test_few_visits_fall_in_the_crew_s_night(tank: UrineTank) -> None:
    by_hour = Counter(event.started_at.hour for event in of_kind(tank, "visit"))
    assert sum(by_hour[hour] for hour in (22, 23, 0, 1, 2, 3)) < 0.08 * by_hour.total()
    assert by_hour[6] > 1.4 * statistics.mean(by_hour[hour] for hour in range(8, 20))


def test_a_visit_is_3_and_a_half_percent_at_6_seconds_each(tank: UrineTank) -> None:
    visits = of_kind(tank, "visit")
    assert 3.1 < statistics.mean(event.steps for event in visits) < 3.7
    assert all(2 <= event.steps <= 10 for event in visits)
    cadences = [
        (event.last_step_at - event.first_step_at).total_seconds() / (event.steps - 1)
        for event in visits
        if not event.late_step and event.last_step_at and event.first_step_at
    ]
    assert 5.7 < statistics.mean(cadences) < 6.3
    assert 0.2 < statistics.mean(event.late_step for event in visits) < 0.3


def test_most_updates_of_the_level_are_dither(tank: UrineTank) -> None:
    levels = [int(update.value) for update in tank.levels]
    _, changes = up_steps(levels)
    assert 0.6 < 1 - changes / len(levels) < 0.9


def test_dither_never_takes_two_steps_in_one_direction(tank: UrineTank) -> None:
    events = [(event.started_at, event.ended_at + timedelta(seconds=2)) for event in tank.truth]
    changes = [(update.ts, int(update.value)) for update in tank.levels]
    steps = [(ts, after - before) for (_, before), (ts, after) in pairwise(changes)]
    for (_, first), (ts, second) in pairwise(steps):
        if first > 0 and second > 0:
            assert any(begin <= ts <= end for begin, end in events), ts


def test_the_steps_told_as_truth_are_the_steps_that_can_be_seen(tank: UrineTank) -> None:
    for event in tank.truth[:200]:
        if event.kind not in ("visit", "dribble", "transfer"):
            continue
        until = event.ended_at + timedelta(seconds=2)
        before = [int(update.value) for update in tank.levels if update.ts <= event.started_at][-400:]
        within = [int(u.value) for u in tank.levels if event.started_at < u.ts <= until]
        assert up_steps([*before, *within])[0] - up_steps(before)[0] == event.steps


def test_the_level_stays_between_0_and_75(tank: UrineTank) -> None:
    assert all(0 <= int(update.value) <= 75 for update in tank.levels)


def test_a_transfer_is_faster_and_larger_than_any_visit(tank: UrineTank) -> None:
    transfers = of_kind(tank, "transfer")
    assert 0.7 < len(transfers) / DAYS < 1.6
    for event in transfers:
        assert event.first_step_at is not None
        assert event.last_step_at is not None
        assert 11 <= event.steps <= 65
        seconds = (event.last_step_at - event.first_step_at).total_seconds()
        assert 2.8 <= seconds / (event.steps - 1) <= 4.3


def test_the_processor_says_normal_while_it_drains_the_tank(tank: UrineTank) -> None:
    drains = of_kind(tank, "drain")
    assert 0.7 < len(drains) / DAYS < 1.5
    starts = [update.ts for update in tank.states if update.value == "16"]
    assert len(starts) - len(drains) in (0, 1)
    for said, event in zip(starts, drains, strict=False):
        assert abs(said - event.started_at) < timedelta(seconds=2)
    assert all(event.level_after < 6 for event in drains)
    assert 58 < statistics.median(event.level_before for event in drains) < 74


def test_events_of_the_tank_never_overlap(tank: UrineTank) -> None:
    rises = sorted((e for e in tank.truth if e.kind != "drain"), key=lambda event: event.started_at)
    for earlier, later in pairwise(rises):
        assert later.started_at - earlier.ended_at > timedelta(seconds=120)


def test_signal_is_lost_for_some_percent_of_the_time() -> None:
    loss = SignalLoss(1, SINCE)
    gaps = [gap for gap in loss.between(SINCE, SINCE + timedelta(days=DAYS)) if not gap.is_outage]
    lost = sum((gap.ended_at - gap.started_at).total_seconds() for gap in gaps)
    assert 0.02 < lost / (DAYS * 86_400) < 0.035
    assert 30 < len(gaps) / DAYS < 45


def test_nothing_but_a_notice_is_heard_in_a_gap() -> None:
    station = make_station()
    end = SINCE + 6 * HOUR
    gaps = [event for event in station.truth_until(end) if event.kind in ("los", "outage")]
    assert gaps
    heard = list(station.updates(end))
    for gap in gaps:
        inside = [update for update in heard if gap.started_at <= update.ts < gap.ended_at]
        assert len(inside) <= 1
        assert all(update.item == CLOCK_ITEM and update.status_class != "24" for update in inside)


def test_what_changed_in_a_gap_is_told_once_after_it() -> None:
    gap = Gap(SINCE + 10 * SECOND, SINCE + 20 * SECOND, is_outage=False, is_announced=True)
    spoken = [Update(item, SINCE + n * SECOND, str(n)) for n in (9, 11, 19, 20, 25) for item in ("A", "B")]
    spoken.remove(Update("B", SINCE + 11 * SECOND, "11"))
    spoken.remove(Update("B", SINCE + 19 * SECOND, "19"))
    told = [
        (update.item, (update.ts - SINCE) // SECOND, update.value)
        for update in heard(spoken, [gap], SINCE + HOUR)
    ]
    assert [entry for entry in told if entry[0] != CLOCK_ITEM] == [
        ("A", 9, "9"),
        ("B", 9, "9"),
        ("A", 20, "19"),
        ("A", 20, "20"),
        ("B", 20, "20"),
        ("A", 25, "25"),
        ("B", 25, "25"),
    ]
    assert [at for item, at, _ in told if item == CLOCK_ITEM] == [10, 20]


def test_what_changed_in_a_gap_is_told_even_if_nothing_follows() -> None:
    gap = Gap(SINCE + 10 * SECOND, SINCE + 20 * SECOND, is_outage=False, is_announced=False)
    told = list(heard([Update("A", SINCE + 15 * SECOND, "1")], [gap], SINCE + HOUR))
    assert told[-1] == Update("A", SINCE + 20 * SECOND, "1")


def test_the_same_seed_and_begin_tell_the_same_story() -> None:
    end = SINCE + HOUR
    assert list(make_station().updates(end)) == list(make_station().updates(end))
    assert make_station().truth_until(end) == make_station().truth_until(end)
    assert list(make_station(seed=2).updates(end)) != list(make_station().updates(end))


def key(update: Update) -> tuple[datetime, str, str]:
    return (update.ts, update.item, update.value)


@pytest.fixture(scope="module")
def four_hours() -> list[Update]:
    return list(make_station(seed=5).updates(SINCE + 4 * HOUR))


@settings(max_examples=12, deadline=None)
@given(st.integers(1, 4 * 3600 - 1))
def test_history_and_the_live_stream_are_one_story_wherever_it_is_cut(
    four_hours: list[Update], seconds: int
) -> None:
    cut = SINCE + timedelta(seconds=seconds, milliseconds=500)
    live = make_station(seed=5).updates(start=cut)
    expected = [update for update in four_hours if update.ts >= cut][:2000]
    assert list(islice(live, len(expected))) == expected


def test_thinned_history_is_true_ordered_and_complete_for_the_water_system() -> None:
    end = SINCE + 5 * HOUR
    whole = list(make_station().updates(end))
    thin = list(make_station().history(end))
    assert set(map(key, thin)) <= set(map(key, whole))
    assert [update.ts for update in thin] == sorted(update.ts for update in thin)
    water = [update for update in whole if update.item.startswith("NODE3")]
    assert [update for update in thin if update.item.startswith("NODE3")] == water
    ticks = [update for update in thin if update.item == CLOCK_ITEM and update.status_class == "24"]
    assert 270 <= len(ticks) <= 301


@pytest.mark.slow
def test_two_days_of_thinned_history_are_small() -> None:
    channels = [Channel(f"Q{number}", "quantity") for number in range(330)]
    history = Station(1, SINCE, channels).history(SINCE + timedelta(days=2))
    assert 50_000 < sum(1 for _ in history) < 150_000


def test_the_total_rate_is_the_nominal_one() -> None:
    station = Station(1, SINCE, [Channel(f"Q{number}", "quantity") for number in range(200)], rate=70.0)
    updates = list(station.updates(SINCE + timedelta(minutes=30), start=SINCE + timedelta(minutes=10)))
    live = 1200 - sum(
        (min(e.ended_at, SINCE + timedelta(minutes=30)) - max(e.started_at, SINCE + timedelta(minutes=10)))
        .total_seconds()
        for e in station.truth
        if e.kind in ("los", "outage") and e.ended_at > SINCE + timedelta(minutes=10)
    )  # fmt: skip
    assert 66 < len(updates) / live < 74
    per_second = Counter((update.item, update.ts.replace(microsecond=0)) for update in updates)
    assert max(per_second.values()) <= 2


def test_a_snapshot_has_each_channel_s_last_value_with_its_old_time() -> None:
    station = make_station()
    at = SINCE + 3 * HOUR
    snapshot = {update.item: update for update in station.snapshot(at)}
    assert set(snapshot) == set(station.items)
    assert all(update.ts <= at for update in snapshot.values())
    heard = {update.item: update for update in station.updates(at)}
    for item in (LEVEL_ITEM, STATE_ITEM, "NODE3000008", "Q1", "Q7"):
        assert snapshot[item].value == heard[item].value


def test_a_rehearsed_visit_comes_on_time_and_nothing_before_it_changes() -> None:
    begins = SINCE + 10 * HOUR
    plain, rehearsed = make_station(), make_station(rehearsal=Rehearsal(begins, 20.0))
    assert list(rehearsed.updates(begins, {LEVEL_ITEM})) == list(plain.updates(begins, {LEVEL_ITEM}))
    later = [event for event in rehearsed.truth_until(begins + HOUR) if event.started_at >= begins]
    assert later[0].kind == "visit"
    assert later[0].started_at == begins + timedelta(seconds=20)
    assert not later[0].masked
    assert all(event.started_at > begins + timedelta(seconds=300) for event in later[1:])


def test_visits_can_be_had_at_a_steady_pace() -> None:
    begins = SINCE + HOUR
    station = make_station(rehearsal=Rehearsal(begins, 60.0, visit_every_s=240.0))
    events = [
        e for e in station.truth_until(begins + HOUR) if e.started_at >= begins and e.item == LEVEL_ITEM
    ]
    assert len(events) >= 12
    assert {event.kind for event in events} <= {"visit", "fast_drain", "drain"}


def test_every_item_of_a_story_is_told_of_within_the_first_seconds() -> None:
    station = make_station()
    others = {channel.item for channel in CHANNELS}
    told = {update.item for update in station.updates(SINCE + timedelta(seconds=5))}
    assert set(station.items) - others <= told


def test_truth_says_where_the_signal_was_lost() -> None:
    events = make_station().truth_until(SINCE + timedelta(days=3))
    gaps = [(event.started_at, event.ended_at) for event in events if event.kind in ("los", "outage")]
    drains = [event for event in events if event.kind == "drain"]
    assert drains
    for event in drains:
        touched = any(start <= event.ended_at and end > event.started_at for start, end in gaps)
        assert event.masked == touched
