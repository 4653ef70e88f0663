from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.naive_rules import RULES, _minute_means, visits_by_rule
from peebot_dagster.detectors.detector import LiveInterval, Window
from peebot_dagster.detectors.level_readings import item_readings, microseconds

NOON = datetime(2025, 1, 10, 12, tzinfo=UTC)
LEVEL = "NODE3000005"


def at(second: float) -> datetime:
    return NOON + timedelta(seconds=second)


def window(
    *readings: tuple[float, float], end: float = 900, live: tuple[LiveInterval, ...] | None = None
) -> Window:
    frame = pd.DataFrame(
        {
            "ts": pd.to_datetime([at(second) for second, _ in readings], utc=True),
            "item": [LEVEL] * len(readings),
            "value": [float(value) for _, value in readings],
            "status_class": pd.array([24] * len(readings), dtype="Int64"),
        }
    )
    return Window(NOON, at(end), frame, live)


def onsets(rule: str, of: Window) -> list[float]:
    return [(event.started_at - NOON).total_seconds() for event in visits_by_rule(rule, of, LEVEL)]


ANY, MONOTONE, NET, MEANS = RULES


def test_any_rise_takes_dither_for_visits() -> None:
    assert onsets(ANY, window((0, 5), (10, 6), (12, 5), (14, 6))) == [10, 14]


def test_a_monotone_rise_lasts_30_to_120_s() -> None:
    assert onsets(MONOTONE, window((0, 5), (100, 6), (106, 7), (140, 8), (300, 7))) == [100]
    assert onsets(MONOTONE, window((0, 5), (100, 6), (106, 7), (300, 6))) == []
    assert onsets(MONOTONE, window((0, 5), (100, 6), (230, 7), (300, 6))) == []
    assert onsets(MONOTONE, window((0, 5), (100, 6), (140, 7))) == [100]


def test_a_net_rise_must_be_stable_afterwards() -> None:
    assert onsets(NET, window((0, 5), (100, 6), (106, 7), (112, 6))) == [106]
    assert onsets(NET, window((0, 5), (100, 6), (106, 7), (112, 5))) == []
    assert onsets(NET, window((0, 5), (100, 6), (150, 7))) == []


def test_minute_means_see_a_rise_two_minutes_later_at_most() -> None:
    (onset,) = onsets(MEANS, window((0, 5), (300, 6), (306, 7)))
    assert abs(onset - 300) <= 120
    assert onsets(MEANS, window((0, 5), (300, 6))) == []


@settings(deadline=None, max_examples=50)
@given(
    st.lists(
        st.tuples(st.integers(0, 599), st.integers(0, 9)), min_size=1, max_size=20, unique_by=lambda r: r[0]
    ),
    st.lists(st.integers(0, 600), max_size=6, unique=True),
)
def test_a_minute_mean_is_that_of_its_live_seconds(readings: list[tuple[int, int]], edges: list[int]) -> None:
    readings = sorted(readings)
    edges = sorted(edges)[: len(edges) // 2 * 2]
    live = tuple(LiveInterval(at(a), at(b)) for a, b in zip(edges[::2], edges[1::2], strict=True))
    of = window(*readings, end=600, live=live)
    borders = microseconds(NOON) + np.arange(11) * 60_000_000
    means = _minute_means(of, item_readings(of, LEVEL, 0, 100), borders)
    for minute in range(10):
        values = [
            next(value for moment, value in reversed(readings) if moment <= second)
            for second in range(minute * 60, minute * 60 + 60)
            if readings[0][0] <= second and any(a.start <= at(second) < a.end for a in live)
        ]
        if values:
            assert means[minute] == pytest.approx(sum(values) / len(values))
        else:
            assert np.isnan(means[minute])
