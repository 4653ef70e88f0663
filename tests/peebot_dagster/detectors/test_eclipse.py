"""The geometry of the orbit's night, against figures that are known of the station."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peebot_dagster.detectors.eclipse import (
    beta_of_night,
    greatest_beta_with_night,
    night_seconds,
    orbit_radius_km,
)

PERIOD_S = 5574.0


def test_an_orbit_of_92_9_minutes_is_417_km_high() -> None:
    assert orbit_radius_km(PERIOD_S) - 6378 == pytest.approx(417, abs=2)


def test_the_longest_night_lasts_36_minutes() -> None:
    assert night_seconds(0.0, PERIOD_S) / 60 == pytest.approx(36.0, abs=0.2)


def test_above_70_degrees_there_is_no_night() -> None:
    assert greatest_beta_with_night(PERIOD_S) == pytest.approx(69.8, abs=0.3)
    assert night_seconds(75.0, PERIOD_S) == 0.0
    assert night_seconds(-75.0, PERIOD_S) == 0.0


@given(st.floats(0.0, 69.0), st.floats(0.01, 0.9))
def test_the_higher_the_beta_angle_the_shorter_the_night(beta: float, more: float) -> None:
    assert night_seconds(beta + more, PERIOD_S) < night_seconds(beta, PERIOD_S)
    assert night_seconds(-beta, PERIOD_S) == night_seconds(beta, PERIOD_S)


@given(st.floats(2.0, 69.5), st.floats(5400.0, 5700.0))
def test_the_length_of_a_night_tells_the_beta_angle(beta: float, period_s: float) -> None:
    beta = min(beta, greatest_beta_with_night(period_s) - 0.1)
    assert beta_of_night(night_seconds(beta, period_s), period_s) == pytest.approx(beta, abs=0.01)


def test_what_is_no_night_tells_no_beta_angle() -> None:
    assert beta_of_night(0.0, PERIOD_S) is None
    assert beta_of_night(45 * 60.0, PERIOD_S) is None
    assert beta_of_night(36.5 * 60.0, PERIOD_S) == 0.0
