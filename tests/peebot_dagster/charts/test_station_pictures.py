from __future__ import annotations

import base64
import io
from datetime import UTC, date, datetime, timedelta

import pytest
from PIL import Image

from peebot_dagster.charts.picture import LARGEST_BYTES, Picture
from peebot_dagster.charts.station import (
    balance_picture,
    hours_picture,
    tank_picture,
    unbroken,
    volumes_picture,
)
from peebot_dagster.station_facts import EventMark, MinuteValue, Span, WaterDay

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
NOW = datetime(2025, 3, 1, 12, tzinfo=UTC)
START = NOW - 24 * HOUR


def a_visit(at: datetime, event_type: str = "toilet_visit") -> EventMark:
    return EventMark(event_type, at, at + MINUTE, 30.0, 287.0, 3.5)


def a_busy_day() -> Picture:
    """More of everything than a day has: the picture is as large as it gets."""
    levels = [MinuteValue(START + i * MINUTE, (i * 7919 % 70) + 2.0) for i in range(1440) if i % 97]
    events = [a_visit(START + i * 40 * MINUTE) for i in range(36)]
    events += [a_visit(START + i * 8 * HOUR, "tank_transfer") for i in range(3)]
    drains = [Span("processing", START + 3 * HOUR, START + 9 * HOUR)]
    link = [Span("LOS", START + i * 30 * MINUTE, START + (i * 30 + 4) * MINUTE) for i in range(48)]
    return tank_picture(levels, events, drains, link, START, NOW)


def days(number: int = 7) -> list[WaterDay]:
    return [WaterDay(date(2025, 2, 20 + i), 5000.0 + i, 60.0, 30.0, 4.0, 90.0) for i in range(number)]


PICTURES = {
    "tank": a_busy_day,
    "hours": lambda: hours_picture([1] * 24, [0.75] * 24),
    "volumes": lambda: volumes_picture(days()),
    "balance": lambda: balance_picture(days()),
    "empty tank": lambda: tank_picture([], [], [], [], START, NOW),
    "no visits": lambda: hours_picture([0] * 24, [0.0] * 24),
}


@pytest.mark.parametrize("name", PICTURES)
def test_every_picture_is_a_small_png_and_the_same_for_the_same_data(name: str) -> None:
    picture = PICTURES[name]()

    assert len(picture.png) < LARGEST_BYTES
    with Image.open(io.BytesIO(picture.png)) as image:
        assert image.format == "PNG"
        assert image.width > 600
        assert len(image.getcolors() or []) > 2
    assert PICTURES[name]().png == picture.png


def test_a_picture_tells_in_words_what_it_shows() -> None:
    alt = a_busy_day().alt
    assert "36 visits" in alt
    assert "3 transfers" in alt
    assert "48 losses of signal" in alt
    assert "No level is known" in tank_picture([], [], [], [], START, NOW).alt
    assert "24 today, 18.0 a day" in hours_picture([1] * 24, [0.75] * 24).alt
    assert "658 % came in, 630 % went out" in balance_picture(days()).alt


def test_the_markdown_holds_the_picture_itself_and_its_words() -> None:
    picture = Picture("A [level].", b"\x89PNG")
    begin, _, rest = picture.markdown.partition("](data:image/png;base64,")
    assert begin == "![A (level)."
    assert base64.b64decode(rest.partition(")")[0]) == b"\x89PNG"


def test_a_line_is_broken_where_nothing_was_heard() -> None:
    minutes = [
        MinuteValue(START, 1.0),
        MinuteValue(START + MINUTE, 2.0),
        MinuteValue(START + 9 * MINUTE, 3.0),
    ]
    times, values = unbroken(minutes)
    assert times == [START, START + MINUTE, START + 2 * MINUTE, START + 9 * MINUTE]
    assert values[2] != values[2]
    assert unbroken([]) == ([], [])
