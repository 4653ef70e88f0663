from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from peebot_dagster.detectors.level_readings import item_readings, microseconds, moment_of

ITEM = "A"


def readings(
    telemetry: Any, *rows: tuple[float, float, int | None]
) -> list[tuple[float, float, float | None]]:
    """Seconds, value and seconds of the first untrusted reading before it, of what remains of the rows."""
    noon = datetime.fromisoformat("2025-01-10T12:00:00+00:00")
    window = telemetry.window(
        [(noon + timedelta(seconds=second), ITEM, value, status) for second, value, status in rows],
        noon,
        noon + timedelta(seconds=100),
    )
    kept = item_readings(window, ITEM, least=0, greatest=100)

    def second(at: int) -> float:
        return (moment_of(at) - noon).total_seconds()

    return [
        (second(at), value, None if invalid < 0 else second(invalid))
        for at, value, invalid in zip(
            kept.at.tolist(), kept.value.tolist(), kept.invalid_since.tolist(), strict=True
        )
    ]


def test_readings_come_in_the_order_of_event_time_then_value(telemetry: Any) -> None:
    rows = [(5, 7, 24), (1, 5, 24), (5, 6, 24), (3.5, 9, 24)]
    assert readings(telemetry, *rows) == [(1, 5, None), (3.5, 9, None), (5, 6, None), (5, 7, None)]


def test_the_same_reading_counts_once(telemetry: Any) -> None:
    assert readings(telemetry, (1, 5, 24), (1, 5, 24), (2, 5, 24), (1, 5, None)) == [
        (1, 5, None),
        (2, 5, None),
    ]


def test_readings_at_or_after_the_watermark_are_not_known_yet(telemetry: Any) -> None:
    assert readings(telemetry, (99.999999, 5, 24), (100, 6, 24), (101, 7, 24)) == [(99.999999, 5, None)]


@pytest.mark.parametrize(
    ("value", "status", "trusted"),
    [
        (0, 24, True),
        (100, 24, True),
        (50, None, True),
        (-0.1, 24, False),
        (100.1, 24, False),
        (float("nan"), 24, False),
        *((50, status, False) for status in (0, 1, 2, 3, 4, 5, 6, 7, 9, 16, 17, 18, 20)),
    ],
)
def test_only_good_readings_within_the_limits_are_trusted(
    telemetry: Any, value: float, status: int | None, trusted: bool
) -> None:
    assert bool(readings(telemetry, (1, value, status))) is trusted


def test_a_reading_knows_since_when_the_channel_was_not_to_be_trusted(telemetry: Any) -> None:
    rows = [(1, 5, 24), (2, 5, 1), (3, 5, 1), (4, 6, 24), (5, 6, 24)]
    assert readings(telemetry, *rows) == [(1, 5, None), (4, 6, 2), (5, 6, None)]


def test_a_moment_survives_the_way_to_microseconds_and_back() -> None:
    moment = datetime.fromisoformat("2025-01-10T12:00:00.123457+00:00")
    assert moment_of(microseconds(moment)) == moment
