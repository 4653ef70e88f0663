"""The simulated power system: nights as on a real orbit, voltages as on the real arrays."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from iss_simulator.catalogue import packaged_channels
from iss_simulator.feed import Update
from iss_simulator.minutes import bucket_of
from iss_simulator.orbit import Orbit
from iss_simulator.power import ARRAYS, BETA_ITEM, PowerSystem
from iss_simulator.recording import Recording
from iss_simulator.station import Station
from iss_simulator.truth import TrueEvent

SINCE = datetime(2025, 3, 1, tzinfo=UTC)
HOUR, MINUTE, SECOND = timedelta(hours=1), timedelta(minutes=1), timedelta(seconds=1)
ITEMS = [channel.item for channel in packaged_channels()]
VOLTAGES = [voltage for voltage, _ in ARRAYS.values()]
FOLDER = Path(os.environ.get("PEEBOT_RECORDINGS", Path(__file__).parents[3] / "shared" / "data"))


@pytest.fixture(scope="module")
def power() -> PowerSystem:
    return PowerSystem(1, ITEMS)


def said(power: PowerSystem, since: datetime, until: datetime) -> list[Update]:
    return [u for bucket in range(bucket_of(since), bucket_of(until)) for u in power.updates(bucket)]


@pytest.fixture(scope="module")
def six_hours(power: PowerSystem) -> list[Update]:
    return said(power, SINCE, SINCE + 6 * HOUR)


def nights(seed: int, days: float, since: datetime = SINCE) -> list[TrueEvent]:
    return PowerSystem(seed, ITEMS).truth_between(since, since + timedelta(days=days))


def test_a_night_comes_with_each_orbit_of_92_9_minutes() -> None:
    # The beta angle moves by some degrees a day: sunset comes up to a few seconds earlier or later each time.
    for seed in range(5):
        for before, after in pairwise(nights(seed, 2)):
            between = after.started_at - before.started_at
            assert abs(between - 92.9 * MINUTE) < 120 * SECOND


def test_no_night_is_longer_than_36_minutes_and_a_high_beta_angle_has_none() -> None:
    with_nights = {event.started_at.date(): event for event in nights(3, 90)}
    lengths = [(event.ended_at - event.started_at) / MINUTE for event in with_nights.values()]
    assert 35 < max(lengths) <= 36.2
    for seed in range(10):
        orbit = Orbit(seed)
        for day in range(120):
            noon = SINCE + timedelta(days=day)
            night = orbit.night(orbit.number(noon))
            beta = abs(orbit.beta_deg(noon))
            if not 69.3 < beta < 70.3:
                assert (night is None) == (beta > 70)


def test_the_beta_angle_stays_within_75_degrees_and_swings_in_about_two_months() -> None:
    orbit = Orbit(2)
    angles = [orbit.beta_deg(SINCE + timedelta(days=day)) for day in range(365)]
    assert max(map(abs, angles)) < 75.5
    crossings = sum(before < 0 <= after for before, after in pairwise(angles))
    assert 5 <= crossings <= 7


def at_moment(updates: Iterable[Update], moment: datetime) -> dict[str, float]:
    return {update.item: float(update.value) for update in updates if update.ts <= moment}


def test_in_the_middle_of_a_night_each_array_stands_at_its_battery_s_voltage(
    power: PowerSystem, six_hours: list[Update]
) -> None:
    found = power.truth_between(SINCE + HOUR, SINCE + 5 * HOUR)
    assert len(found) >= 2
    for night in found:
        values = at_moment(six_hours, night.started_at + (night.ended_at - night.started_at) / 2)
        assert all(151.0 < values[item] < 151.45 for item in VOLTAGES)


def test_by_day_some_array_always_sees_the_sun(power: PowerSystem, six_hours: list[Update]) -> None:
    for before, after in pairwise(power.truth_between(SINCE, SINCE + 6 * HOUR)):
        day = after.started_at - before.ended_at
        for share in np.linspace(0.05, 0.95, 19):
            values = at_moment(six_hours, before.ended_at + day * float(share))
            assert sum(values[item] > 151.5 for item in VOLTAGES) >= 2


def test_updates_come_as_often_as_promised(power: PowerSystem, six_hours: list[Update]) -> None:
    assert len(six_hours) / (6 * 3600) == pytest.approx(power.rate, rel=0.15)
    per_item = defaultdict(list)
    for update in six_hours:
        per_item[update.item].append(update.ts)
    assert set(per_item) == power.items
    # An array is silent for some minutes at most, as on the real station.
    for item in VOLTAGES:
        assert max(b - a for a, b in pairwise(per_item[item])) < 10 * MINUTE


def test_any_minute_can_be_asked_for_first(six_hours: list[Update]) -> None:
    start = SINCE + 3 * HOUR
    alone = said(PowerSystem(1, ITEMS), start, start + 10 * MINUTE)
    assert alone == [update for update in six_hours if start <= update.ts < start + 10 * MINUTE]


def test_a_station_without_some_channels_says_the_same_of_the_others(six_hours: list[Update]) -> None:
    few = PowerSystem(1, [VOLTAGES[2], BETA_ITEM])
    assert few.items == {VOLTAGES[2], BETA_ITEM}
    own = [update for update in six_hours if update.item in few.items and update.ts < SINCE + HOUR]
    assert said(few, SINCE, SINCE + HOUR) == own


def test_thinned_sunset_and_sunrise_stay_sharp(power: PowerSystem, six_hours: list[Update]) -> None:
    thin = [
        update
        for bucket in range(bucket_of(SINCE), bucket_of(SINCE + 6 * HOUR))
        for update in power.thinned(bucket, 10)
    ]
    assert set(thin) <= set(six_hours)
    assert len(thin) < 0.4 * len(six_hours)
    for night in power.truth_between(SINCE, SINCE + 5 * HOUR):
        for edge in (night.started_at, night.ended_at):
            near = [u for u in six_hours if abs(u.ts - edge) < 30 * SECOND]
            assert set(near) <= set(thin)


def test_when_the_signal_is_back_the_thinned_arrays_tell_all(power: PowerSystem) -> None:
    bucket = bucket_of(SINCE + HOUR)
    assert power.thinned(bucket, 10, is_back=True) == power.updates(bucket)


def test_the_station_speaks_of_the_arrays_and_its_total_rate_stays() -> None:
    station = Station(1, SINCE, rate=70.0)
    updates = list(station.updates(SINCE + 4 * MINUTE))
    assert power_items() <= {update.item for update in updates}
    snapshot = {update.item: update for update in station.snapshot(SINCE + HOUR)}
    assert set(snapshot) == set(station.items)
    assert [e.kind for e in station.truth_until(SINCE + 3 * HOUR)].count("orbital_night") == 2


def power_items() -> set[str]:
    return set(VOLTAGES)


def test_the_simulated_voltages_have_the_shape_of_the_real_ones(six_hours: list[Update]) -> None:
    path = FOLDER / "iss_oft2_14h.csv.gz"
    if not path.exists():
        pytest.skip(f"{path.name} is not in {FOLDER} (set PEEBOT_RECORDINGS)")
    rows = Recording(path, datetime(2026, 1, 1, tzinfo=UTC), year=2022).rows()
    real = np.array([float(row.value) for row in rows if row.item in VOLTAGES])
    simulated = np.array([float(update.value) for update in six_hours if update.item in VOLTAGES])
    # On the battery, charging it, and on the array.
    for low, high in ((151.0, 151.45), (151.45, 152.2), (157.0, 161.0)):
        shares = [np.mean((values >= low) & (values < high)) for values in (real, simulated)]
        assert shares[1] == pytest.approx(shares[0], abs=0.2)
        assert min(shares) > 0.05
    assert np.mean((simulated >= 151.0) & (simulated < 161.0)) > 0.99
