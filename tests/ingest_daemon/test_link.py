from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from ingest_daemon.link import Connection, Link, LinkState, Transition
from ingest_daemon.reading import Reading

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
LIVE, LOS, DOWN = LinkState.LIVE, LinkState.LOS, LinkState.DOWN


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


class Story:
    """A link whose wall clock and monotonic clock both count seconds from START."""

    def __init__(self) -> None:
        self.link = Link(0.0)

    def tick(
        self, second: float, *, ts: float | None = None, status: int = 24, snapshot: bool = False
    ) -> None:
        stamp = at(second if ts is None else ts)
        self.link.heard(at(second))
        reading = Reading("TIME_000001", stamp, at(second), 0.0, "0", status, snapshot, 0)
        self.link.tick(reading, at(second), second)

    def check(self, second: float, connection: Connection = Connection.CONNECTED) -> None:
        self.link.check(connection, at(second), second)

    def told(self) -> list[tuple[LinkState, float]]:
        return [(t.state, (t.at - START).total_seconds()) for t in self.link.transitions()]


def live_since_1() -> Story:
    story = Story()
    story.check(0)
    story.tick(1)
    assert story.told() == [(LIVE, 1)]
    return story


def test_a_tick_of_class_24_is_acquisition_of_signal() -> None:
    live_since_1()


def test_what_was_forgotten_from_a_moment_on_is_down_from_there_whatever_was_heard_later() -> None:
    story = live_since_1()
    story.tick(9)
    story.link.lost_since(at(4))
    assert story.told() == [(DOWN, 4)]
    # The clock may come back as it was: the station's next tick is needed, and a first one will do.
    story.tick(10, ts=9)
    assert story.told() == [(LIVE, 10)]


def test_a_lost_session_is_down_from_the_arrival_of_the_last_update_however_long_it_then_waited() -> None:
    story = live_since_1()
    story.tick(9)
    story.link.behind = timedelta(seconds=3)
    story.link.session_lost()
    assert story.told() == [(DOWN, 6)]


def test_a_tick_of_another_class_is_loss_of_signal_at_once() -> None:
    story = live_since_1()
    story.tick(2, status=1)
    assert story.told() == [(LOS, 2)]
    story.tick(8)
    assert story.told() == [(LIVE, 8)]


def test_fifteen_seconds_without_a_tick_are_loss_of_signal_from_the_last_tick_on() -> None:
    story = live_since_1()
    story.tick(3)
    story.check(17.9)
    assert story.told() == []
    story.check(18.1)
    assert story.told() == [(LOS, 3)]


def test_updates_of_other_channels_do_not_keep_the_signal() -> None:
    story = live_since_1()
    for second in range(2, 20):
        story.link.heard(at(second))
        story.check(second)
    assert story.told() == [(LOS, 1)]


def test_a_clock_that_stands_still_at_class_24_is_loss_of_signal() -> None:
    story = live_since_1()
    for second in range(2, 20):
        story.tick(second, ts=1)
        story.check(second)
    assert story.told() == [(LOS, 1)]


def test_an_old_snapshot_of_class_24_is_no_signal_and_a_fresh_one_is() -> None:
    story = Story()
    story.check(0)
    story.tick(1, ts=-3600, snapshot=True)
    story.check(2)
    assert story.told() == []
    story.check(3.1)
    assert story.told() == [(LOS, 0)]
    fresh = Story()
    fresh.check(0)
    fresh.tick(1, ts=-4, snapshot=True)
    assert fresh.told() == [(LIVE, 1)]


def test_a_live_tick_is_a_signal_however_far_the_two_clocks_are_apart() -> None:
    story = Story()
    story.check(0)
    story.tick(1, ts=-3600)
    assert story.told() == [(LIVE, 1)]


def test_a_server_out_of_reach_at_the_start_is_down_from_the_start() -> None:
    story = Story()
    story.check(0.1, Connection.DISCONNECTED)
    story.check(2.9, Connection.DISCONNECTED)
    assert story.told() == []
    story.check(3.1, Connection.DISCONNECTED)
    assert story.told() == [(DOWN, 0.1)]


def test_a_cut_that_heals_within_the_grace_leaves_no_trace() -> None:
    story = live_since_1()
    story.check(5)
    story.check(7.9, Connection.DISCONNECTED)
    story.check(8)
    story.tick(8.1)
    assert story.told() == []


def test_a_cut_that_does_not_heal_is_down_from_the_last_update_on() -> None:
    story = live_since_1()
    story.link.heard(at(4.5))
    story.check(5)
    story.check(8.1, Connection.DISCONNECTED)
    assert story.told() == [(DOWN, 4.5)]
    story.check(10)
    story.tick(10.2)
    assert story.told() == [(LIVE, 10.2)]


def test_a_lost_session_is_down_from_the_last_update_until_the_next_tick() -> None:
    story = live_since_1()
    story.link.heard(at(4.5))
    story.link.session_lost()
    story.check(6)
    story.tick(6.5, ts=1, snapshot=True)
    assert story.told() == [(DOWN, 4.5), (LIVE, 6.5)]


def test_connected_without_a_tick_after_being_down_is_loss_of_signal() -> None:
    story = Story()
    story.check(0, Connection.DISCONNECTED)
    story.check(4, Connection.DISCONNECTED)
    story.check(5)
    story.check(8.1)
    assert story.told() == [(DOWN, 0), (LOS, 5)]


steps = st.one_of(
    st.tuples(st.just("tick"), st.sampled_from([24, 24, 24, 0, 1]), st.booleans()),
    st.tuples(st.just("check"), st.sampled_from(list(Connection)), st.none()),
    st.tuples(st.just("lost"), st.none(), st.none()),
)


@given(st.lists(st.tuples(steps, st.floats(0.01, 30))))
def test_the_intervals_of_any_story_follow_one_another_and_none_repeats_its_neighbour(
    story_steps: list[tuple[tuple[str, object, object], float]],
) -> None:
    story = Story()
    second = 0.0
    transitions: list[Transition] = []
    for (what, argument, snapshot), pause in story_steps:
        second += pause
        if what == "tick":
            assert isinstance(argument, int)
            story.tick(second, status=argument, snapshot=bool(snapshot))
        elif what == "check":
            assert isinstance(argument, Connection)
            story.check(second, argument)
        else:
            story.link.session_lost()
        transitions += story.link.transitions()
    for earlier, later in pairwise(transitions):
        assert earlier.at <= later.at <= at(second)
        assert earlier.state is not later.state
