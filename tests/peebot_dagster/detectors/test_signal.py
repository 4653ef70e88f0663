"""Loss and return of signal: by the link where it is known, by the ticks of the station's clock where not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peebot_dagster.detectors.detector import (
    DetectedEvent,
    FollowsLink,
    LiveInterval,
    LostInterval,
    Window,
)
from peebot_dagster.detectors.signal import SignalDetector

DETECTOR = SignalDetector()
NOON = datetime(2025, 1, 10, 12, tzinfo=UTC)
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
CLOCK = DETECTOR.clock_item

Tick = tuple[float, int | None]
Spans = Sequence[tuple[float, float]]


def at(second: float) -> datetime:
    return NOON + timedelta(seconds=second)


def frame(ticks: Iterable[Tick]) -> pd.DataFrame:
    ticks = list(ticks)
    return pd.DataFrame(
        {
            "ts": pd.to_datetime([at(second) for second, _ in ticks], utc=True),
            "item": pd.Series([CLOCK] * len(ticks), dtype="object"),
            "value": pd.Series([second * 1000 for second, _ in ticks], dtype="float64"),
            "status_class": pd.Series([status for _, status in ticks], dtype="Int64"),
        }
    )


def record(ticks: Sequence[Tick], end: float, start: float = 0) -> Window:
    """A window of a recording: nothing is known about the link."""
    before = [tick for tick in sorted(ticks) if tick[0] < start][-1:]
    inside = [tick for tick in ticks if start <= tick[0] < end]
    return Window(at(start), at(end), frame([*before, *inside]))


def ticking(*spans: tuple[float, float]) -> list[Tick]:
    return [(float(second), 24) for first, end in spans for second in range(int(first), int(end))]


def linked(
    live: Spans, lost: Spans | None, end: float, start: float = 0, ticks: Sequence[Tick] = ()
) -> Window:
    """A window of the store: the link is known, and only ticks that tell of LOS are loaded."""
    return Window(
        at(start),
        at(end),
        frame(tick for tick in ticks if start <= tick[0] < end and tick[1] != 24),
        tuple(
            LiveInterval(at(max(a, start)), at(min(b, end))) for a, b in live if min(b, end) > max(a, start)
        ),
        None
        if lost is None
        else tuple(LostInterval(at(a), at(min(b, end))) for a, b in lost if a < end and b > start),
    )


def story(window: Window) -> list[tuple[str, float, float | None, str]]:
    return [
        (
            event.event_type,
            (event.started_at - NOON) / SECOND,
            None if event.ended_at is None else (event.ended_at - NOON) / SECOND,
            event.state,
        )
        for event in DETECTOR.detect(window)
    ]


def test_a_silence_of_the_clock_is_a_loss_from_the_last_tick_to_the_next() -> None:
    window = record(ticking((0, 100), (140, 200)), end=200)
    assert story(window) == [("signal_loss", 99, 140, "closed")]
    (event,) = DETECTOR.detect(window)
    assert event.payload["duration_seconds"] == 41
    assert event.payload["announced"] is False


def test_a_loss_that_the_status_class_announces_begins_with_the_announcement() -> None:
    window = record([*ticking((0, 100), (107, 200)), (100.0, 1)], end=200)
    assert story(window) == [("signal_loss", 100, 107, "closed")]
    (event,) = DETECTOR.detect(window)
    assert event.payload["announced"] is True
    assert event.confidence > 0.9


def test_a_silence_announced_late_began_with_the_silence() -> None:
    window = record([*ticking((0, 100), (160, 200)), (130.0, 2)], end=200)
    assert story(window) == [("signal_loss", 99, 160, "closed")]


def test_a_pause_of_ten_seconds_is_no_loss_and_one_of_eleven_is() -> None:
    assert story(record(ticking((0, 100), (109, 200)), end=200)) == []
    assert story(record(ticking((0, 100), (110, 200)), end=200)) == [("signal_loss", 99, 110, "closed")]


def test_a_flicker_of_the_flag_is_no_loss() -> None:
    assert story(record([*ticking((0, 100), (102, 200)), (100.0, 1), (101.0, 1)], end=200)) == []


def test_a_loss_is_open_as_soon_as_the_clock_has_been_silent() -> None:
    assert story(record(ticking((0, 100)), end=109)) == []
    assert story(record(ticking((0, 100)), end=110)) == [("signal_loss", 99, None, "open")]


def test_a_record_thinned_to_a_tick_a_minute_tells_of_no_loss_by_silence() -> None:
    ticks: list[Tick] = [(60.0 * minute, 24) for minute in range(120)]
    assert story(record(ticks, end=7200)) == []
    assert story(record([*ticks, (615.0, 1)], end=7200)) == [("signal_loss", 615, 660, "closed")]


def test_a_record_without_the_clock_tells_nothing() -> None:
    assert story(record([], end=7200)) == []


def test_a_loss_longer_than_a_quarter_of_an_hour_is_told_by_its_begin_and_by_the_return() -> None:
    window = record(ticking((0, 100), (8000, 8100)), end=8100)
    assert story(window) == [
        ("signal_loss", 99, None, "closed"),
        ("signal_return", 8000, 8000, "closed"),
    ]
    loss, _ = DETECTOR.detect(window)
    assert loss.payload["duration_seconds"] is None
    assert loss.payload["longer_than_seconds"] == 900


def test_a_single_tick_after_a_long_silence_is_no_return() -> None:
    window = record([*ticking((0, 100)), (8000.0, 24)], end=9000)
    assert [event[0] for event in story(window)] == ["signal_loss"]


def test_the_link_s_own_record_of_los_is_a_loss() -> None:
    window = linked(live=[(0, 100), (140, 300)], lost=[(100, 140)], end=300)
    assert story(window) == [("signal_loss", 100, 140, "closed")]


def test_where_our_own_daemon_was_away_nothing_is_said_about_the_station() -> None:
    assert story(linked(live=[(0, 100), (4000, 5000)], lost=[], end=5000)) == []


def test_a_loss_beside_an_outage_of_ours_may_be_longer_than_what_is_known_of_it() -> None:
    before, after = linked([(0, 100), (240, 300)], [(200, 240)], 300), linked([(0, 100)], [(100, 140)], 300)
    for window, hidden in ((before, "begin"), (after, "end")):
        (event,) = DETECTOR.detect(window)
        assert event.payload[f"{hidden}_hidden_by_outage"] is True
        assert event.confidence <= 0.5
        assert event.state == "closed"


def test_while_the_station_is_not_heard_the_loss_is_open() -> None:
    assert story(linked([(0, 100)], [(100, 900)], end=150)) == [("signal_loss", 100, None, "open")]


def test_a_loss_that_was_written_down_until_a_second_ago_goes_on() -> None:
    assert story(linked([(0, 100)], [(100, 149)], end=150)) == [("signal_loss", 100, None, "open")]
    assert story(linked([(0, 100)], [(100, 140)], end=150)) == [("signal_loss", 100, 140, "closed")]
    live_again = linked([(0, 100), (149, 150)], [(100, 149)], end=150)
    assert story(live_again) == [("signal_loss", 100, 149, "closed")]


def test_a_tick_that_told_of_the_loss_is_found_beside_the_link_s_record() -> None:
    window = linked([(0, 100), (140, 300)], [(100, 140)], end=300, ticks=[(97.5, 1)])
    assert DETECTOR.detect(window)[0].payload["announced"] is True


def test_a_return_says_how_long_the_link_s_record_knows_the_signal_to_have_been_lost() -> None:
    window = linked([(7200, 9000)], [(-80_000, 7200)], end=9000, start=6000)
    (event,) = DETECTOR.detect(window)
    assert event.event_type == "signal_return"
    assert event.payload["lost_for_seconds"] == 87_200


def test_without_los_intervals_all_that_is_not_live_is_lost() -> None:
    window = linked([(0, 100), (140, 300)], None, end=300)
    assert story(window) == [("signal_loss", 100, 140, "closed")]


def test_good_ticks_need_not_be_loaded_where_the_link_is_known() -> None:
    assert isinstance(DETECTOR, FollowsLink)


spans = st.lists(
    st.tuples(st.sampled_from([3, 8, 12, 40, 300, 1500, 4000]), st.integers(20, 900), st.booleans()),
    min_size=1,
    max_size=8,
)


def lay_out(losses: Sequence[tuple[int, int, bool]]) -> tuple[list[Tick], Spans, Spans, float]:
    """Ticks, live and lost stretches of a story of (seconds lost, seconds heard after it, announced)."""
    now, ticks = 3000.0, ticking((0, 3000))
    live, lost = [(0.0, 3000.0)], []
    for away, heard, announced in losses:
        if announced:
            ticks.append((now, 1))
        lost.append((now, now + away))
        now += away
        ticks += ticking((now, now + heard))
        live.append((now, now + heard))
        now += heard
    return ticks, live, lost, now


def in_pieces(window_of: object, end: float, cuts: Sequence[float]) -> list[DetectedEvent]:
    assert callable(window_of)
    edges = sorted({0.0, end, *(round(end * cut) for cut in cuts)})
    found: list[DetectedEvent] = []
    back, settle = DETECTOR.look_back / SECOND, DETECTOR.settle / SECOND
    for first, last in pairwise(edges):
        window = window_of(first - back, min(last + settle, end))
        found += [e for e in DETECTOR.detect(window) if at(first) <= e.started_at < at(last)]
    return found


@settings(max_examples=40, deadline=None)
@given(spans, st.lists(st.floats(0.001, 0.999), max_size=8), st.sampled_from(["ticks", "link", "live only"]))
def test_any_split_into_windows_gives_the_same_events(
    losses: list[tuple[int, int, bool]], cuts: list[float], known: str
) -> None:
    ticks, live, lost, end = lay_out(losses)

    def window_of(start: float, end: float) -> Window:
        if known == "ticks":
            return record(ticks, end, start)
        # Before the first link interval, nothing is known.
        return linked([(-9999, 0), *live], lost if known == "link" else None, end, start, ticks)

    assert in_pieces(window_of, end, cuts) == DETECTOR.detect(window_of(0 - 900, end))


@settings(max_examples=15, deadline=None)
@given(spans, st.data())
def test_neither_the_order_of_arrival_nor_doubles_count(
    losses: list[tuple[int, int, bool]], data: st.DataObject
) -> None:
    ticks, _, _, end = lay_out(losses)
    seed = data.draw(st.integers(0, 2**16))
    window = record(ticks, end)
    readings = pd.concat([window.readings, window.readings.sample(frac=0.3, random_state=seed)])
    shuffled = readings.sample(frac=1, random_state=seed).reset_index(drop=True)
    assert DETECTOR.detect(Window(window.start, window.end, shuffled)) == DETECTOR.detect(window)


@pytest.mark.parametrize("days", [-366, 365])
def test_a_year_later_the_same_happens(days: int) -> None:
    window = record(ticking((0, 100), (140, 200)), end=200)
    shift = timedelta(days=days)
    readings = window.readings.assign(ts=window.readings["ts"] + shift)
    (late,) = DETECTOR.detect(Window(window.start + shift, window.end + shift, readings))
    (event,) = DETECTOR.detect(window)
    assert late.started_at - shift == event.started_at
    assert late.payload == event.payload
    assert late.event_id != event.event_id
