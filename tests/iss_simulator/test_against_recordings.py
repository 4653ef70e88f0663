"""The simulated tank beside the real one (recordings that are not part of the project)."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from iss_simulator.recording import Recording
from iss_simulator.signal_loss import SignalLoss
from iss_simulator.urine_tank import UrineTank

NOW = datetime(2026, 1, 1, tzinfo=UTC)
DAYS = 34
FOLDER = Path(os.environ.get("PEEBOT_RECORDINGS", Path(__file__).parents[3] / "shared" / "data"))


def recording(name: str, item: str | None = None) -> Recording:
    if not (FOLDER / name).exists():
        pytest.skip(f"{name} is not in {FOLDER} (set PEEBOT_RECORDINGS)")
    return Recording(FOLDER / name, NOW, item)


def shape(levels: list[int]) -> tuple[float, float, float]:
    """Updates a day, share of dither, and % that rises a day, once dither is taken away."""
    high, rises, changes = levels[0] + 1, 0, 0
    for level in levels[1:]:
        if level > high:
            rises, changes, high = rises + level - high, changes + 1, level
        elif level < high - 1:
            changes, high = changes + 1, level + 1
    return len(levels) / DAYS, 1 - changes / len(levels), rises / DAYS


def test_the_simulated_level_has_the_shape_of_the_real_one() -> None:
    rows = recording("urine_tank_2024-12-26_2025-01-29.csv.gz", "NODE3000005").rows()
    real = shape([int(row.value) for row in rows])
    since = datetime(2024, 12, 26, tzinfo=UTC)
    tank = UrineTank(1, since, SignalLoss(1, since))
    tank.tell(since + timedelta(days=DAYS))
    simulated = shape([int(update.value) for update in tank.levels])
    assert simulated[0] == pytest.approx(real[0], rel=0.35)
    assert simulated[1] == pytest.approx(real[1], abs=0.1)
    assert simulated[2] == pytest.approx(real[2], rel=0.25)


def test_a_recording_in_the_feed_s_own_hours_keeps_its_stamps() -> None:
    rows = recording("iss_oft2_14h.csv.gz").rows()
    first = next(rows)
    assert (first.timestamp, first.item) == ("3374.00002805551", "S6000007")
    assert sum(1 for _ in rows) == 626_355
