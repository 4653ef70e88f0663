from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peebot_dagster.detectors.backlash import Backlash

levels = st.lists(st.integers(0, 100).map(float), min_size=1, max_size=60)


def steps(values: list[float]) -> list[float]:
    band = Backlash(values[0])
    return [step for value in values[1:] if (step := band.move(value))]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param([5, 6, 5, 6, 5, 6, 5], [], id="dither upwards is no step"),
        pytest.param([5, 4, 5, 4, 5, 4, 5], [], id="dither downwards is no step"),
        pytest.param([5, 6, 7, 8], [1, 1], id="a rise of unknown origin loses at most one percent"),
        pytest.param([5, 4, 5, 6, 7], [1, 1], id="a known band counts each percent"),
        pytest.param([5, 4, 5, 9], [4], id="a jump is one step"),
        pytest.param([5, 6, 5, 4, 3], [-1, -1], id="a fall is negative"),
        pytest.param([5, 9], [3], id="a jump opens the band and counts the rest"),
        pytest.param([5, 1], [-3], id="a jump downwards as well"),
        pytest.param([5, 6, 7, 6, 5, 6, 7], [1, -1, 1], id="a way back and forth of two is real"),
    ],
)
def test_what_is_a_step(values: list[float], expected: list[float]) -> None:
    assert steps([float(value) for value in values]) == expected


@given(levels)
def test_mass_balance_the_steps_add_up_to_the_way_of_the_band(values: list[float]) -> None:
    band = Backlash(values[0])
    way, opened_at = 0.0, None
    for value in values[1:]:
        step = band.move(value)
        if opened_at is None and band.hi - band.lo == 1.0:
            # The opening may already hold a step; from here on the account must be exact.
            opened_at, step = band.hi, 0.0
        way += step
    if opened_at is not None:
        assert way == band.hi - opened_at


@given(levels, levels)
def test_one_change_of_the_value_makes_the_past_irrelevant(past: list[float], values: list[float]) -> None:
    with_past, without = Backlash(past[0]), Backlash(values[0])
    for value in [*past[1:], values[0]]:
        with_past.move(value)
    changed = False
    for before, value in pairwise(values):
        first, second = with_past.move(value), without.move(value)
        if changed:
            assert first == second
        changed = changed or value != before
        if changed:
            assert (with_past.lo, with_past.hi) == (without.lo, without.hi)


@given(levels)
def test_the_value_is_always_within_the_band(values: list[float]) -> None:
    band = Backlash(values[0])
    for value in values:
        band.move(value)
        assert band.lo <= value <= band.hi
        assert band.hi - band.lo <= 1.0


@given(st.integers(1, 99).map(float), st.lists(st.booleans(), max_size=60))
def test_dither_of_any_rhythm_is_never_a_step(level: float, flicker: list[bool]) -> None:
    assert steps([level, *(level + up for up in flicker)]) == []
