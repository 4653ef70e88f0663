from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from peebot_dagster.detectors.detector import DetectedEvent, Window
from peebot_dagster.looks import HOURS_PER_LOOK, UNHURRIED, Agenda, Look, OpenEvent, StaleHour, agenda
from peebot_dagster.states import BREATHER, HURRY, Change, rest

NOON = datetime(2025, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)
NOW = NOON + timedelta(minutes=30)


@dataclass(frozen=True)
class Quiet:
    """Finds nothing."""

    trigger_interval: timedelta = timedelta(0)
    name: str = "quiet"
    version: str = "1"
    items: tuple[str, ...] = ("NODE3000005",)
    event_types: tuple[str, ...] = ("nothing",)
    look_back: timedelta = timedelta(0)
    settle: timedelta = timedelta(hours=6)

    def detect(self, window: Window) -> list[DetectedEvent]:
        return []


def stale(
    hour: datetime = NOON,
    own: int | None = 7,
    seen: int | None = 7,
    ago: float = 60,
    settles: bool = False,
    news_ago: float = 3600,
) -> StaleHour:
    """An hour of which `seen` own revisions were looked at `ago` seconds before NOW; None: never."""
    look = None
    if seen is not None:
        look = Look(100, seen, NOW - timedelta(seconds=ago), NOW - timedelta(seconds=news_ago))
    return StaleHour(hour, own, settles, look)


def agenda_of(
    detector: Quiet,
    hours: Sequence[StaleHour],
    still_open: Iterable[OpenEvent],
    now: datetime,
    rests: timedelta | None = None,
) -> Agenda:
    """Of a detector that rests for its trigger interval if nothing else is said."""
    return agenda(detector, hours, still_open, now, detector.trigger_interval if rests is None else rests)


def test_an_hour_is_looked_at_when_it_was_never_seen_or_has_news_and_only_then() -> None:
    hours = [stale(), stale(NOON - HOUR, own=8), stale(NOON - 2 * HOUR), stale(NOON - 3 * HOUR, None, None)]

    assert agenda_of(Quiet(), hours, [], NOW).hours == (NOON - HOUR, NOON - 3 * HOUR)


def test_the_hours_of_a_long_settle_time_cost_nothing_while_nothing_changes_in_them() -> None:
    day = [stale(NOON - i * HOUR) for i in range(24)]

    assert agenda_of(Quiet(), day, [], NOW).hours == ()


def test_a_detector_rests_for_its_trigger_interval_and_says_until_when() -> None:
    unhurried = Quiet(trigger_interval=timedelta(seconds=30))

    resting = agenda_of(unhurried, [stale(own=8, ago=20)], [], NOW)

    assert (resting.hours, resting.resting, resting.again_at) == ((), True, NOW + 10 * SECOND)
    assert agenda_of(unhurried, [stale(own=8, ago=30)], [], NOW).hours == (NOON,)


def test_an_event_that_has_just_changed_is_looked_at_each_second_and_then_ever_less_often() -> None:
    def looks_at(changed_ago: float, looked_ago: float) -> bool:
        event = OpenEvent(NOON, NOW - timedelta(seconds=changed_ago))
        return bool(agenda_of(Quiet(), [stale(ago=looked_ago)], [event], NOW).hours)

    assert looks_at(changed_ago=3, looked_ago=1)
    assert not looks_at(changed_ago=3, looked_ago=0.5)
    assert not looks_at(changed_ago=300, looked_ago=5)
    assert looks_at(changed_ago=300, looked_ago=11)


def test_what_a_change_means_is_looked_for_soon_after_it_and_then_ever_less_often() -> None:
    resting = Quiet(trigger_interval=timedelta(seconds=5))

    def looks_at(news_ago: float, looked_ago: float, detector: Quiet = resting) -> bool:
        return bool(agenda_of(detector, [stale(ago=looked_ago, news_ago=news_ago)], [], NOW).hours)

    assert looks_at(news_ago=60, looked_ago=5)
    assert not looks_at(news_ago=60, looked_ago=4.9)
    assert not looks_at(news_ago=600, looked_ago=49)
    assert looks_at(news_ago=600, looked_ago=50)
    assert not looks_at(news_ago=86_400, looked_ago=299)
    # It tells of what is not decided yet by an open event.
    assert not looks_at(news_ago=60, looked_ago=59, detector=Quiet())


def test_a_detector_in_a_hurry_is_looked_at_as_soon_as_it_has_rested_also_when_nothing_is_new() -> None:
    unhurried = Quiet(trigger_interval=timedelta(minutes=1))

    assert agenda_of(unhurried, [stale(ago=2)], [], NOW, 2 * SECOND).hours == (NOON,)
    assert agenda_of(unhurried, [stale(own=8, ago=1.9)], [], NOW, 2 * SECOND).resting
    assert agenda_of(unhurried, [stale(own=8, ago=59)], [], NOW).resting


def test_a_change_ends_the_rest_and_the_next_ones_are_ever_longer_until_they_are_as_the_detector_says() -> (
    None
):
    def rests(
        changed_ago: float | None, took_s: float = 0, interval_s: float = 60, is_pressing: bool = False
    ) -> float:
        change = None if changed_ago is None else Change(NOW - timedelta(seconds=changed_ago), is_pressing)
        took = timedelta(seconds=took_s)
        return rest(timedelta(seconds=interval_s), NOW, change, took).total_seconds()

    assert rests(None) == 60
    assert rests(-30, took_s=0.5, is_pressing=True) == 0
    # The look came before the change, or the clock was set back.
    assert rests(-30) == 1
    assert rests(-30, took_s=0.5) == 0.5 * BREATHER
    assert rests(0) == 1
    assert rests(60) == 2
    assert rests(HURRY.total_seconds()) == 6
    assert rests(HURRY.total_seconds() + 1) == 60
    # What is expensive is not done each second, and no hurry makes a rest longer.
    assert rests(0, took_s=0.5) == 0.5 * BREATHER
    assert rests(0, took_s=30) == 60
    assert rests(0, interval_s=0) == 0


def test_an_open_event_of_a_settled_hour_is_left_alone() -> None:
    event = OpenEvent(NOON - 9 * HOUR, NOW - SECOND)

    assert agenda_of(Quiet(), [stale()], [event], NOW).hours == ()


def test_the_newest_hour_is_looked_at_now_and_then_although_nothing_is_new() -> None:
    ago = UNHURRIED.total_seconds()

    assert agenda_of(Quiet(), [stale(ago=ago), stale(NOON - HOUR, ago=ago)], [], NOW).hours == (NOON,)


def test_an_hour_of_tomorrow_takes_no_look_from_the_present_one() -> None:
    ago = UNHURRIED.total_seconds()
    tomorrow = stale(NOON + 19 * HOUR, ago=ago)

    assert agenda_of(Quiet(), [tomorrow, stale(ago=ago)], [], NOW).hours == (NOON,)


def test_hours_are_settled_along_with_a_look_and_else_once_a_minute() -> None:
    old = stale(NOON - 9 * HOUR, ago=59, settles=True)

    assert agenda_of(Quiet(), [stale(ago=59), old], [], NOW).hours == ()
    assert agenda_of(Quiet(), [stale(ago=59), old], [], NOW).again_at == NOW + SECOND
    assert agenda_of(Quiet(), [stale(own=8, ago=59), old], [], NOW).hours == (NOON, old.hour)
    older = replace(old, look=Look(100, 7, NOW - 60 * SECOND, NOW - HOUR))
    assert agenda_of(Quiet(), [stale(ago=60), older], [], NOW).hours == (old.hour,)


def test_a_look_is_bounded_and_takes_the_newest_hours() -> None:
    hours = [stale(NOON - i * HOUR, None, None) for i in range(HOURS_PER_LOOK + 1)]

    bounded = agenda_of(Quiet(), hours, [], NOW)

    assert bounded.hours == tuple(hour.hour for hour in hours[:HOURS_PER_LOOK])
    assert not bounded.complete


@given(
    st.lists(
        st.tuples(
            st.integers(0, 3), st.one_of(st.none(), st.integers(0, 3)), st.integers(0, 900), st.booleans()
        ),
        max_size=6,
    ),
    st.lists(st.tuples(st.integers(0, 6), st.integers(0, 90_000)), max_size=3),
    st.integers(0, 60),
    st.one_of(st.none(), st.floats(0, 60)),
)
def test_whoever_waits_until_the_agenda_says_so_then_has_something_to_do(
    rows: list[tuple[int, int | None, int, bool]],
    events: list[tuple[int, int]],
    interval: int,
    rests_s: float | None,
) -> None:
    detector = Quiet(trigger_interval=timedelta(seconds=interval))
    hours = [
        stale(NOON - i * HOUR, own, seen, ago, settles) for i, (own, seen, ago, settles) in enumerate(rows)
    ]
    still_open = [OpenEvent(NOON - i * HOUR, NOW - timedelta(seconds=ago)) for i, ago in events]

    rests = None if rests_s is None else min(detector.trigger_interval, timedelta(seconds=rests_s))

    now = agenda_of(detector, hours, still_open, NOW, rests)

    if not now.hours and hours:
        assert now.again_at > NOW
        later = agenda_of(detector, hours, still_open, now.again_at, rests)
        assert later.hours or later.again_at - now.again_at <= UNHURRIED
