from __future__ import annotations

from itertools import pairwise
from typing import Any

from ingest_daemon.feed_keeper import FeedKeeper
from ingest_daemon.link import Connection


def seconds(keeper: FeedKeeper, start: float, stop: float) -> None:
    for second in range(int(start), int(stop)):
        keeper.check(float(second))


def test_the_feed_is_opened_at_the_first_check(fake_feed: Any) -> None:
    FeedKeeper(fake_feed, ["A"], watch_silence=True).check(0.0)
    assert fake_feed.opened == [["A"]]


def test_a_feed_that_has_failed_is_opened_again_after_ever_longer_pauses(fake_feed: Any) -> None:
    keeper = FeedKeeper(fake_feed, ["A"], watch_silence=True)
    fake_feed.state = Connection.FAILED
    opened_at, before = [], 0
    for tenth in range(3000):
        keeper.check(tenth / 10)
        if len(fake_feed.opened) > before:
            opened_at.append(tenth / 10)
            before = len(fake_feed.opened)
    pauses = [round(later - earlier) for earlier, later in pairwise(opened_at)]
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_a_live_update_makes_the_next_pause_short_again(fake_feed: Any) -> None:
    keeper = FeedKeeper(fake_feed, ["A"], watch_silence=True)
    fake_feed.state = Connection.FAILED
    seconds(keeper, 0, 40)
    keeper.heard(40.0)
    before = len(fake_feed.opened)
    seconds(keeper, 40, 44)
    assert len(fake_feed.opened) > before


def test_a_feed_that_is_connected_and_deaf_is_opened_again_ever_more_rarely(fake_feed: Any) -> None:
    keeper = FeedKeeper(fake_feed, ["A"], watch_silence=True)
    seconds(keeper, 0, 60)
    assert len(fake_feed.opened) == 1
    seconds(keeper, 60, 62)
    assert len(fake_feed.opened) == 2
    seconds(keeper, 62, 181)
    assert len(fake_feed.opened) == 2
    seconds(keeper, 181, 183)
    assert len(fake_feed.opened) == 3


def test_a_feed_that_is_heard_is_left_alone(fake_feed: Any) -> None:
    keeper = FeedKeeper(fake_feed, ["A"], watch_silence=True)
    for second in range(300):
        keeper.heard(float(second))
        keeper.check(float(second))
    assert len(fake_feed.opened) == 1
    assert fake_feed.tended > 250


def test_a_client_that_tries_to_connect_is_left_alone(fake_feed: Any) -> None:
    keeper = FeedKeeper(fake_feed, ["A"], watch_silence=True)
    fake_feed.state = Connection.DISCONNECTED
    seconds(keeper, 0, 600)
    assert len(fake_feed.opened) == 1


def test_the_silence_of_a_recording_is_allowed(fake_feed: Any) -> None:
    seconds(FeedKeeper(fake_feed, ["A"], watch_silence=False), 0, 600)
    assert len(fake_feed.opened) == 1
