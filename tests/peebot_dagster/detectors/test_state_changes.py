"""Changes of a state, and what was out of sight when they happened."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peebot_dagster.detectors.detector import LiveInterval, Window
from peebot_dagster.detectors.held_values import SECOND, held_values
from peebot_dagster.detectors.level_readings import microseconds
from peebot_dagster.detectors.link_gaps import MEMORY, LinkGaps
from peebot_dagster.detectors.state_changes import QUIET, StateChange, state_changes

NOON = datetime(2025, 1, 10, 12, tzinfo=UTC)
ITEM = "USLAB000012"
Row = tuple[float, float] | tuple[float, float, int]


def at(second: float) -> datetime:
    return NOON + timedelta(seconds=second)


def window(
    rows: list[Row], start: float, end: float, away: list[tuple[float, float]] | None = None
) -> Window:
    """Rows as (second, value) or (second, value, status class); `away`: gaps of the link, if known."""
    readings = pd.DataFrame(
        {
            "ts": pd.to_datetime([at(row[0]) for row in rows], utc=True),
            "item": ITEM,
            "value": [float(row[1]) for row in rows],
            "status_class": pd.array([row[2] if len(row) > 2 else 24 for row in rows], dtype="Int64"),
        }
    )
    live = None
    if away is not None:
        edges = [start, *(edge for gap in away for edge in gap), end]
        pairs = zip(edges[::2], edges[1::2], strict=True)
        live = tuple(LiveInterval(at(begin), at(until)) for begin, until in pairs)
    return Window(at(start), at(end), readings, live)


def changes(view: Window) -> list[StateChange]:
    return state_changes(held_values(view, ITEM, 0, 255), LinkGaps(view))


def told(*rows: Row, end: float = 5000, away: list[tuple[float, float]] | None = None) -> list[StateChange]:
    return changes(window(list(rows), 0, end, away))


def states(found: list[StateChange]) -> list[tuple[float, float]]:
    return [(change.before, change.after) for change in found]


def test_each_change_is_told_with_its_time() -> None:
    found = told((0, 4), (100, 5), (200, 7))
    assert states(found) == [(4, 5), (5, 7)]
    assert [change.at for change in found] == [microseconds(at(100)), microseconds(at(200))]


def test_a_repeat_is_no_change() -> None:
    assert told((0, 4), (100, 4), (101, 4)) == []


def test_a_flicker_that_comes_to_nothing_is_no_change() -> None:
    assert told((0, 4), (100, 5), (102, 4)) == []


def test_states_on_the_way_belong_to_one_change() -> None:
    (change,) = told((0, 4), (100, 3), (104, 1), (112, 6))
    assert (change.before, change.after, change.through) == (4, 6, (3, 1))


def test_a_change_is_settled_once_it_has_been_quiet_for_ten_seconds() -> None:
    assert [change.settled for change in told((0, 4), (100, 5), end=105)] == [False]
    assert [change.settled for change in told((0, 4), (100, 5), end=111)] == [True]


def test_a_flicker_without_end_is_told_by_where_it_stands_every_ten_minutes() -> None:
    flicker = [(100 + 5 * n, 5 if n % 3 else 7) for n in range(401)]
    found = told((0, 4), *flicker)
    assert states(found) == [(4, 7), (7, 5), (5, 7), (7, 5)]
    assert all(change.settled for change in found)
    assert told((0, 4), *flicker, (3000, 4))[-1].after == 4


def test_the_state_after_long_chatter_is_not_lost() -> None:
    chatter = [(100 + 5 * n, 5 if n % 2 else 4) for n in range(200)]
    assert states(told((0, 4), *chatter, (1105, 7))) == [(4, 5), (5, 7)]


def test_only_what_could_be_seen_counts_for_how_long_a_state_has_stayed() -> None:
    def spell(end: float, *rows: Row) -> list[tuple[float, bool]]:
        view = window([(0, 4), (100, 5), *rows], 0, end, [(105, min(400, end))])
        found = state_changes(held_values(view, ITEM, 0, 255), LinkGaps(view), hidden=600 * SECOND)
        return [(change.after, change.settled) for change in found]

    assert spell(390) == [(5, False)]
    assert spell(414) == [(5, False)]
    assert spell(416) == [(5, True)]
    assert spell(500, (404, 4)) == []
    assert spell(500, (420, 4)) == [(5, True), (4, True)]


def test_a_reading_that_cannot_be_trusted_is_no_state() -> None:
    assert told((0, 4), (100, 0, 1), (200, 4)) == []


def test_a_change_behind_untrusted_readings_happened_at_some_time_since_the_first_of_them() -> None:
    (change,) = told((0, 4), (100, 0, 1), (150, 0, 1), (200, 5))
    assert change.hiding is not None
    assert change.hiding.since == microseconds(at(100))


def test_a_change_that_is_heard_when_the_link_is_back_happened_while_it_was_away() -> None:
    (change,) = told((0, 4), (300, 5), away=[(200, 299)])
    assert change.hiding is not None
    assert change.hiding.since == microseconds(at(200))


def test_what_is_silent_on_a_live_link_has_not_changed() -> None:
    (change,) = told((0, 4), (400, 5), away=[(200, 299)])
    assert change.hiding is None


def test_a_link_that_was_away_for_hours_tells_only_that_it_was_long() -> None:
    (change,) = changes(window([(0, 4), (9000, 5)], 0, 9100, [(100, 8999)]))
    assert change.hiding is not None
    assert change.hiding.since is None


def test_a_change_that_a_snapshot_tells_happened_at_some_time_since_the_reading_before_it() -> None:
    view = window([(0, 4), (300, 5), (400, 7)], 0, 5000, [])
    snapshots = view.readings.assign(is_snapshot=[True, True, False])
    first, second = changes(replace(view, readings=snapshots))
    assert first.hiding is not None
    assert first.hiding.since == microseconds(at(0))
    assert second.hiding is None
    with_gap = replace(window([(0, 4), (300, 5), (400, 7)], 0, 5000, [(200, 299)]), readings=snapshots)
    first, _ = changes(with_gap)
    assert first.hiding is not None
    assert first.hiding.since == microseconds(at(200))


def test_where_nothing_is_known_about_the_link_nothing_is_hidden() -> None:
    (change,) = told((0, 4), (4000, 5))
    assert change.hiding is None


rows = st.lists(
    st.tuples(
        st.sampled_from([1, 5, 9, 10, 11, 30, 700, 3000, 8000]),
        st.sampled_from([4, 4, 5, 7]),
        st.sampled_from([24, 24, 24, 1]),
        st.sampled_from([0, 0, 8, 100, 8000]),
    ),
    min_size=1,
    max_size=40,
)


@settings(deadline=None)
@given(rows, st.floats(0, 1))
def test_where_the_window_starts_does_not_count_after_two_hours(
    story: list[tuple[int, int, int, int]], share: float
) -> None:
    now = 0.0
    readings: list[Row] = []
    away: list[tuple[float, float]] = []
    for pause, value, status, lost in story:
        if lost:
            away.append((now + 0.5, now + lost))
        now += pause + lost
        readings.append((now, value, status))
    end = now + 100
    cut = end * share
    carried = [row for row in readings if row[0] < cut][-1:]
    inside = [row for row in readings if row[0] >= cut]
    gaps = [(max(cut, begin), until) for begin, until in away if until > cut]
    whole = changes(window(readings, 0, end, away))
    part = changes(window([*carried, *inside], cut, end, gaps))
    sure = microseconds(at(cut)) + MEMORY + QUIET + SECOND
    assert [c for c in part if c.at >= sure] == [c for c in whole if c.at >= sure]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0, 1)])
def test_the_order_of_arrival_does_not_count(order: tuple[int, ...]) -> None:
    view = window([(0, 4), (100, 5), (200, 7)], 0, 300)
    shuffled = Window(view.start, view.end, view.readings.iloc[list(order)].reset_index(drop=True), view.live)
    assert changes(shuffled) == changes(view)
