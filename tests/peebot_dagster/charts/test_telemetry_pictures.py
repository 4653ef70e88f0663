from __future__ import annotations

from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any

import pytest
from PIL import Image

from peebot_dagster.charts.picture import LARGEST_BYTES, Picture
from peebot_dagster.charts.telemetry import coverage_picture, delay_picture, rate_picture, signal_picture
from peebot_dagster.station_facts import EventMark, MinuteValue, Span
from peebot_dagster.telemetry_facts import Activity, Delay

MINUTE = timedelta(minutes=1)
NOW = datetime(2025, 3, 1, 12, tzinfo=UTC)
START = NOW - timedelta(hours=24)
LOS = [Span("LOS", START + i * 30 * MINUTE, START + (i * 30 + 4) * MINUTE) for i in range(48)]
STEPS = [Activity(START + i * 10 * MINUTE, 5.0 + i % 7, 280.0 + i % 11) for i in range(144)]
DELAYS = [Delay(START + i * 10 * MINUTE, 1.5 + i % 3, 4.0 + i % 13) for i in range(144)]
VALUES = [MinuteValue(START + i * MINUTE, float(i * 7919 % 70)) for i in range(1440)]
EVENTS = [
    EventMark(kind, START + i * 29 * MINUTE, START + (i * 29 + length) * MINUTE, None, None, None)
    for i in range(49)
    for kind, length in (("orbital_night", 20), ("signal_loss", 1))
]

PICTURES = {
    "rate": lambda: rate_picture(STEPS, LOS, START, NOW),
    "delay": lambda: delay_picture(DELAYS, START, NOW),
    "coverage": lambda: coverage_picture(STEPS, LOS, START, NOW),
    "signal": lambda: signal_picture("orbit", "Voltage, V", VALUES, EVENTS, LOS, START, NOW),
    "no rate": lambda: rate_picture([], [], START, NOW),
    "no delay": lambda: delay_picture([], START, NOW),
    "one delay": lambda: delay_picture(DELAYS[:1], START, NOW),
    "no coverage": lambda: coverage_picture([], [], START, NOW),
    "no signal": lambda: signal_picture("orbit", "Voltage, V", [], [], [], START, NOW),
}


@pytest.mark.parametrize("name", PICTURES)
def test_every_picture_of_the_telemetry_is_small_whatever_the_day_was_like(name: str) -> None:
    assert 1000 < len(PICTURES[name]().png) < LARGEST_BYTES


def colours(picture: Picture) -> set[Any]:
    image = Image.open(BytesIO(picture.png)).convert("RGB")
    row = image.height // 2  # of the axes: below the title and the legend
    return {image.getpixel((x, row)) for x in range(image.width)}


def test_a_loss_of_signal_of_a_few_seconds_is_still_seen() -> None:
    short = [Span("LOS", START + 600 * MINUTE, START + 600 * MINUTE + timedelta(seconds=4))]
    with_it, without = (signal_picture("x", "y", [], [], link, START, NOW) for link in (short, []))
    assert colours(with_it) - colours(without)


def test_a_state_is_drawn_at_its_name_however_far_apart_the_numbers_are() -> None:
    low, high = ([MinuteValue(START, 2.0), MinuteValue(START + MINUTE, top)] for top in (4.0, 128.0))
    names = {2.0: "stop", 4.0: "run", 128.0: "run"}
    pictures = [signal_picture("x", "y", values, [], [], START, NOW, names) for values in (low, high)]
    assert pictures[0].png == pictures[1].png
    unnamed = signal_picture("x", "y", high, [], [], START, NOW)
    assert unnamed.png != pictures[1].png


def test_the_pictures_tell_in_words_what_they_show() -> None:
    assert "192 minutes of LOS" in PICTURES["rate"]().alt
    assert "16.0 s at worst" in PICTURES["delay"]().alt
    assert "290 channels" in PICTURES["coverage"]().alt
    assert "49 orbital_night, 49 signal_loss" in PICTURES["signal"]().alt
    assert "no events" in PICTURES["no signal"]().alt
