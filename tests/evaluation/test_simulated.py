from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

from evaluation.simulated import simulated_window
from iss_simulator.urine_tank import LEVEL_ITEM, STATE_ITEM

SINCE = datetime(2026, 5, 1, tzinfo=UTC)
ITEMS = (LEVEL_ITEM, STATE_ITEM)


def test_a_simulated_window_is_one_that_a_store_would_give() -> None:
    window, _ = simulated_window(ITEMS, 1, SINCE, 1)
    assert (window.start, window.end) == (SINCE, SINCE + timedelta(days=1))
    assert list(window.readings.columns) == ["ts", "item", "value", "status_class"]
    assert set(window.readings["item"]) == set(ITEMS)
    assert window.readings["ts"].is_monotonic_increasing
    assert str(window.readings["ts"].dt.tz) == "UTC"
    assert window.readings["ts"].between(window.start, window.end, inclusive="left").all()
    assert set(window.readings["status_class"]) == {24}


def test_nothing_is_heard_while_the_link_is_away() -> None:
    window, truth = simulated_window(ITEMS, 1, SINCE, 3)
    assert window.live is not None
    for before, after in pairwise(window.live):
        assert window.start <= before.start < before.end < after.start < after.end <= window.end
        hidden = window.readings["ts"].between(before.end, after.start, inclusive="left")
        assert not hidden.any()
    away = [event for event in truth if event.kind in ("los", "outage")]
    assert len(away) == len(window.live) - 1 + (window.live[-1].end < window.end)


def test_the_truth_is_what_happened_in_the_window() -> None:
    window, truth = simulated_window(ITEMS, 1, SINCE, 2)
    assert all(window.start <= event.started_at < window.end for event in truth)
    visits = [event for event in truth if event.kind == "visit"]
    assert len(visits) > 20
    assert all(visit.onset == visit.first_step_at for visit in visits)


def test_the_same_seed_gives_the_same_window_and_another_seed_another() -> None:
    first, again = (simulated_window(ITEMS, 1, SINCE, 1)[0] for _ in range(2))
    other, _ = simulated_window(ITEMS, 2, SINCE, 1)
    assert first.readings.equals(again.readings)
    assert first.live == again.live
    assert not first.readings.equals(other.readings)


def test_a_channel_without_a_story_has_values_too() -> None:
    window, _ = simulated_window(("S0000004",), 1, SINCE, 0.05)
    assert len(window.readings) > 100
    assert window.readings["value"].notna().all()
