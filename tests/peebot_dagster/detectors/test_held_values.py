"""What an item's value was at a moment."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pandas as pd

from peebot_dagster.detectors.detector import Window
from peebot_dagster.detectors.held_values import SECOND, HeldValues, held_values
from peebot_dagster.detectors.level_readings import microseconds

NOON = datetime(2025, 1, 10, 12, tzinfo=UTC)
ZERO = microseconds(NOON)


def held(*rows: tuple[int, float, int]) -> HeldValues:
    """Rows as (second, value, status class); trusted are values from 0 to 100."""
    readings = pd.DataFrame(
        {
            "ts": pd.to_datetime([NOON + timedelta(seconds=row[0]) for row in rows], utc=True),
            "item": "A",
            "value": [row[1] for row in rows],
            "status_class": pd.array([row[2] for row in rows], dtype="Int64"),
        }
    )
    return held_values(Window(NOON, NOON + timedelta(hours=1), readings), "A", 0, 100)


def at(second: int) -> int:
    return ZERO + second * SECOND


def test_a_value_holds_until_the_next_one() -> None:
    values = held((10, 1.0, 24), (20, 2.0, 24))
    assert [values.holding(at(second)) for second in (9, 10, 19, 20, 3000)] == [None, 1.0, 1.0, 2.0, 2.0]


def test_nothing_is_known_after_a_reading_that_cannot_be_trusted() -> None:
    values = held((10, 1.0, 24), (20, 2.0, 1), (30, 101.0, 24), (40, 3.0, 24))
    assert [values.holding(at(second)) for second in (15, 25, 35, 45)] == [1.0, None, None, 3.0]


def test_the_greatest_value_of_a_time_includes_the_one_that_held_when_it_began() -> None:
    values = held((10, 9.0, 24), (20, 2.0, 24), (30, 5.0, 24), (40, 50.0, 1))
    assert values.greatest(at(15), at(25)) == 9.0
    assert values.greatest(at(20), at(45)) == 5.0
    assert values.greatest(at(0), at(5)) is None


def test_of_two_values_of_one_moment_the_greater_trusted_one_holds_in_whatever_order_they_came() -> None:
    assert held((10, 3.0, 24), (10, 7.0, 24), (10, 99.0, 1)).holding(at(10)) == 7.0
    assert held((10, 99.0, 1), (10, 7.0, 24), (10, 3.0, 24)).holding(at(10)) == 7.0


def test_the_same_reading_delivered_again_is_one() -> None:
    values = held((10, 3.0, 24), (10, 3.0, 24), (20, 3.0, 24), (30, 3.0, 1), (30, 3.0, 1))
    assert values.at.tolist() == [at(10), at(20), at(30)]


def test_an_item_without_readings_is_never_known() -> None:
    nothing = pd.DataFrame(
        {"ts": pd.to_datetime([], utc=True), "item": [], "value": [], "status_class": pd.array([], "Int64")}
    )
    values = held_values(Window(NOON, NOON + timedelta(hours=1), nothing), "A", 0, 100)
    assert values.holding(at(1)) is None
    assert values.greatest(at(0), at(1)) is None
