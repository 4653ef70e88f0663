from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from peebot_dagster.detectors.detector import DetectedEvent, Window
from peebot_dagster.looks import HOURS_PER_LOOK, UNHURRIED, Look, OpenEvent, StaleHour, agenda

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


def test_an_hour_is_looked_at_when_it_was_never_seen_or_has_news_and_only_then() -> None:
    hours = [stale(), stale(NOON - HOUR, own=8), stale(NOON - 2 * HOUR), stale(NOON - 3 * HOUR, None, None)]

    assert agenda(Quiet(), hours, [], NOW).hours == (NOON - HOUR, NOON - 3 * HOUR)


def test_the_hours_of_a_long_settle_time_cost_nothing_while_nothing_changes_in_them() -> None:
    day = [stale(NOON - i * HOUR) for i in range(24)]

    assert agenda(Quiet(), day, [], NOW).hours == ()


def test_a_detector_rests_for_its_trigger_interval_and_says_until_when() -> None:
    unhurried = Quiet(trigger_interval=timedelta(seconds=30))

    resting = agenda(unhurried, [stale(own=8, ago=20)], [], NOW)

    assert (resting.hours, resting.resting, resting.again_at) == ((), True, NOW + 10 * SECOND)
    assert agenda(unhurried, [stale(own=8, ago=30)], [], NOW).hours == (NOON,)


def test_an_event_that_has_just_changed_is_looked_at_each_second_and_then_ever_less_often() -> None:
    def looks_at(changed_ago: float, looked_ago: float) -> bool:
        event = OpenEvent(NOON, NOW - timedelta(seconds=changed_ago))
        return bool(agenda(Quiet(), [stale(ago=looked_ago)], [event], NOW).hours)

    assert looks_at(changed_ago=3, looked_ago=1)
    assert not looks_at(changed_ago=3, looked_ago=0.5)
    assert not looks_at(changed_ago=300, looked_ago=5)
    assert looks_at(changed_ago=300, looked_ago=11)


def test_what_a_change_means_is_looked_for_soon_after_it_and_then_ever_less_often() -> None:
    resting = Quiet(trigger_interval=timedelta(seconds=5))

    def looks_at(news_ago: float, looked_ago: float, detector: Quiet = resting) -> bool:
        return bool(agenda(detector, [stale(ago=looked_ago, news_ago=news_ago)], [], NOW).hours)

    assert looks_at(news_ago=60, looked_ago=5)
    assert not looks_at(news_ago=60, looked_ago=4.9)
    assert not looks_at(news_ago=600, looked_ago=49)
    assert looks_at(news_ago=600, looked_ago=50)
    assert not looks_at(news_ago=86_400, looked_ago=299)
    # It tells of what is not decided yet by an open event.
    assert not looks_at(news_ago=60, looked_ago=59, detector=Quiet())


def test_what_a_new_state_means_is_looked_for_at_once_and_soon_again_however_long_the_detector_rests() -> (
    None
):
    unhurried = Quiet(trigger_interval=timedelta(minutes=1))

    def looks_at(changed_ago: float | None, looked_ago: float, own: int = 7) -> bool:
        changed_at = None if changed_ago is None else NOW - timedelta(seconds=changed_ago)
        return bool(agenda(unhurried, [stale(own=own, ago=looked_ago)], [], NOW, changed_at).hours)

    assert looks_at(changed_ago=0, looked_ago=1, own=8)
    assert not looks_at(changed_ago=None, looked_ago=59, own=8)
    # Two seconds after the look that was made when the state had held for a minute; what is not new, too.
    assert looks_at(changed_ago=62, looked_ago=2)
    assert not looks_at(changed_ago=62, looked_ago=1.9, own=8)
    # After half an hour the detector's own interval is the shorter one.
    assert not looks_at(changed_ago=3600, looked_ago=59, own=8)
    assert looks_at(changed_ago=3600, looked_ago=60, own=8)


def test_an_open_event_of_a_settled_hour_is_left_alone() -> None:
    event = OpenEvent(NOON - 9 * HOUR, NOW - SECOND)

    assert agenda(Quiet(), [stale()], [event], NOW).hours == ()


def test_the_newest_hour_is_looked_at_now_and_then_although_nothing_is_new() -> None:
    ago = UNHURRIED.total_seconds()

    assert agenda(Quiet(), [stale(ago=ago), stale(NOON - HOUR, ago=ago)], [], NOW).hours == (NOON,)


def test_hours_are_settled_along_with_a_look_and_else_once_a_minute() -> None:
    old = stale(NOON - 9 * HOUR, ago=59, settles=True)

    assert agenda(Quiet(), [stale(ago=59), old], [], NOW).hours == ()
    assert agenda(Quiet(), [stale(ago=59), old], [], NOW).again_at == NOW + SECOND
    assert agenda(Quiet(), [stale(own=8, ago=59), old], [], NOW).hours == (NOON, old.hour)
    older = replace(old, look=Look(100, 7, NOW - 60 * SECOND, NOW - HOUR))
    assert agenda(Quiet(), [stale(ago=60), older], [], NOW).hours == (old.hour,)


def test_a_look_is_bounded_and_takes_the_newest_hours() -> None:
    hours = [stale(NOON - i * HOUR, None, None) for i in range(HOURS_PER_LOOK + 1)]

    bounded = agenda(Quiet(), hours, [], NOW)

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
    st.one_of(st.none(), st.integers(0, 7200)),
)
def test_whoever_waits_until_the_agenda_says_so_then_has_something_to_do(
    rows: list[tuple[int, int | None, int, bool]],
    events: list[tuple[int, int]],
    interval: int,
    changed_ago: int | None,
) -> None:
    detector = Quiet(trigger_interval=timedelta(seconds=interval))
    hours = [
        stale(NOON - i * HOUR, own, seen, ago, settles) for i, (own, seen, ago, settles) in enumerate(rows)
    ]
    still_open = [OpenEvent(NOON - i * HOUR, NOW - timedelta(seconds=ago)) for i, ago in events]

    changed_at = None if changed_ago is None else NOW - timedelta(seconds=changed_ago)

    now = agenda(detector, hours, still_open, NOW, changed_at)

    if not now.hours and hours:
        assert now.again_at > NOW
        later = agenda(detector, hours, still_open, now.again_at, changed_at)
        assert later.hours or later.again_at - now.again_at <= UNHURRIED
