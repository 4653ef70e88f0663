"""When a quantity is beyond a level."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peebot_dagster.detectors.excursions import Excursion, Level, excursions
from peebot_dagster.detectors.held_values import SECOND, HeldValues

FALLEN = Level(enter=100.0, leave=200.0, confirm=10 * SECOND, memory=300 * SECOND)
RISEN = Level(enter=90.0, leave=80.0, confirm=10 * SECOND, memory=300 * SECOND)
BAD = float("nan")
Reading = tuple[int, float]


def held(readings: list[Reading], end: int) -> HeldValues:
    """Readings as (second, value), known until a second."""
    at = np.array([second * SECOND for second, _ in readings], dtype=np.int64)
    return HeldValues(at, np.array([value for _, value in readings], dtype=np.float64), end * SECOND)


def seconds(found: list[Excursion]) -> list[tuple[int, int | None]]:
    return [(e.start // SECOND, None if e.end is None else e.end // SECOND) for e in found]


def fallen(*readings: Reading, end: int = 1000) -> list[tuple[int, int | None]]:
    return seconds(excursions(held(list(readings), end), FALLEN))


def test_an_excursion_lasts_from_the_first_reading_beyond_to_the_first_one_back() -> None:
    assert fallen((0, 250), (20, 90), (50, 0), (80, 150), (100, 200)) == [(20, 100)]


def test_an_excursion_that_is_not_over_has_no_end() -> None:
    assert fallen((0, 250), (20, 90), (980, 80)) == [(20, None)]


def test_a_rise_is_an_excursion_where_the_level_is_one_to_rise_to() -> None:
    found = excursions(held([(0, 50), (20, 90), (60, 85), (80, 80)], 1000), RISEN)
    assert seconds(found) == [(20, 80)]


def test_what_was_beyond_when_the_window_began_began_in_another_one() -> None:
    assert fallen((0, 50), (100, 60), (200, 250)) == []
    assert fallen((0, 50), (200, 250), (300, 40), (400, 250)) == [(300, 400)]


def test_a_spike_is_no_excursion() -> None:
    assert fallen((0, 250), (20, 0), (21, 250), (300, 0), (309, 250)) == []


def test_a_spike_back_ends_no_excursion() -> None:
    assert fallen((0, 250), (20, 0), (100, 250), (101, 0), (300, 250)) == [(20, 300)]


def test_noise_at_the_level_is_one_excursion_and_not_many() -> None:
    noise = [(20 + 12 * n, 99.0 if n % 2 else 101.0) for n in range(20)]
    assert fallen((0, 250), *noise, (300, 50), (400, 250)) == [(32, 400)]


def test_what_lingers_between_the_levels_is_back_once_the_memory_has_passed() -> None:
    assert fallen((0, 250), (20, 50), (40, 150), (200, 50), (220, 150)) == [(20, 220)]
    assert fallen((0, 250), (20, 50), (40, 150), (400, 50), (420, 250)) == [(20, 40), (400, 420)]


def test_a_reading_that_cannot_be_trusted_is_neither_beyond_nor_back() -> None:
    assert fallen((0, 250), (20, BAD), (60, 250)) == []
    assert fallen((0, 250), (20, 50), (60, BAD), (100, 50), (200, 250)) == [(20, 200)]


def test_time_without_trusted_readings_adds_to_the_memory_up_to_a_limit() -> None:
    level = replace(FALLEN, untrusted=200 * SECOND)

    def told(bad_until: int) -> list[tuple[int, int | None]]:
        story = held([(0, 250), (20, 50), (100, BAD), (bad_until, 50), (bad_until + 100, 250)], 2000)
        return seconds(excursions(story, level))

    assert told(599) == [(20, 699)]
    assert told(600) == [(20, 100), (600, 700)]


def test_without_readings_there_is_no_excursion() -> None:
    assert fallen() == []


values = st.sampled_from([0.0, 99.0, 101.0, 150.0, 199.0, 201.0, 250.0, BAD])
stories = st.lists(st.tuples(st.integers(1, 400), values), min_size=1, max_size=60)


@settings(deadline=None)
@given(stories, st.floats(0, 1))
def test_where_the_window_starts_does_not_count_after_the_memory(
    story: list[tuple[int, float]], share: float
) -> None:
    readings: list[Reading] = []
    now = 0
    for pause, value in story:
        now += pause
        readings.append((now, value))
    whole = held(readings, now + 50)
    cut = int(now * share)
    carried = [reading for reading in readings if reading[0] < cut][-1:]
    part = held([*carried, *(reading for reading in readings if reading[0] >= cut)], now + 50)
    sure = cut * SECOND + FALLEN.memory + FALLEN.confirm

    def later(found: list[Excursion]) -> list[tuple[int, int, int | None]]:
        return [(e.start, e.last_beyond, e.end) for e in found if e.start >= sure]

    assert later(excursions(part, FALLEN)) == later(excursions(whole, FALLEN))


@settings(deadline=None)
@given(stories)
def test_excursions_follow_one_another(story: list[tuple[int, float]]) -> None:
    readings = [(second, value) for second, (_, value) in enumerate(story)]
    found = excursions(held(readings, len(readings) + 50), FALLEN)
    for before, after in pairwise(found):
        assert before.end is not None
        assert before.start < before.last_beyond <= before.end <= after.start


@pytest.mark.parametrize("end", [29, 30])
def test_an_excursion_is_told_as_soon_as_it_is_confirmed(end: int) -> None:
    assert fallen((0, 250), (20, 50), end=end) == ([(20, None)] if end == 30 else [])
