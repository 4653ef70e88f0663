from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import peebot_live
from peebot_live.facts import Facts, Level, Link, Post, Visit
from peebot_live.page import PARTS, document, parts_of

NOW = datetime(2025, 3, 1, 12, tzinfo=UTC)
HERE = Path(peebot_live.__file__).parent
VOID = {"meta", "link"}
COLOURS = dict(re.findall(r"--(\w+): (#[0-9a-f]{6});", (HERE / "live.css").read_text(encoding="utf-8")))


LIVE = Link("LIVE", NOW - timedelta(hours=1))


def facts(
    link: Link | None = LIVE,
    curve: tuple[Level, ...] = (),
    visit: Visit | None = None,
    posts: tuple[Post, ...] = (),
    muted: bool = False,
) -> Facts:
    return Facts(NOW, link, Level(NOW, 42.0), curve, visit, 3, posts, muted)


class Balanced(HTMLParser):
    """Fails on an element that is closed by another or never."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@given(st.text(), st.text(), st.lists(st.floats(-1e6, 1e6), max_size=5))
def test_whatever_is_stored_the_page_is_well_formed_and_holds_no_markup_of_others(
    text: str, platform: str, levels: list[float]
) -> None:
    curve = tuple(Level(NOW - timedelta(minutes=i), value) for i, value in enumerate(levels))
    parts = parts_of(facts(curve=curve, posts=(Post(NOW, platform, "sent", f"<script>{text}"),)))
    page = document(parts)
    reader = Balanced()
    reader.feed(page)
    reader.close()
    assert reader.open == []
    assert page.count("<script") == 1


def test_each_part_has_its_element_with_its_content() -> None:
    parts = parts_of(facts())
    page = document(parts)
    assert set(parts) == set(PARTS)
    for name, html in parts.items():
        assert re.search(f'<div id="{name}"[^>]*>{re.escape(html)}</div>', page)


@pytest.mark.parametrize(
    ("link", "told"),
    [
        (Link("LIVE", NOW), "AOS"),
        (Link("LOS", NOW), "LOS"),
        (Link("DOWN", NOW), "DOWN"),
        (None, "DOWN"),
    ],
)
def test_the_link_is_told_in_words(link: Link | None, told: str) -> None:
    assert f">{told}: " in parts_of(facts(link=link))["link"]


def test_a_mute_is_told() -> None:
    assert "Muted" in parts_of(facts(muted=True))["link"]
    assert "Muted" not in parts_of(facts())["link"]


def test_a_visit_is_told_with_its_size_and_whether_it_goes_on() -> None:
    visit = Visit(NOW - timedelta(minutes=5), "open", 0.9, 3.0, 246.0)
    told = parts_of(facts(visit=visit))["visit"]
    for words in ("11:55:00 UTC, 01 Mar", "+3 %", "about 246 mL", "90% sure", "still going on", "3 today"):
        assert words in told
    assert "of unknown size" in parts_of(facts(visit=Visit(NOW, "closed", 0.5, None, None)))["visit"]


def test_the_curve_says_in_words_what_it_shows() -> None:
    curve = (Level(NOW - timedelta(hours=2), 10.0), Level(NOW - timedelta(hours=1), 14.0))
    tank = parts_of(facts(curve=curve))["tank"]
    assert 'role="img" aria-label="Level over the last 12 hours, between 10 and 42 %"' in tank


def test_a_dry_run_is_not_shown_as_a_post() -> None:
    told = parts_of(facts(posts=(Post(NOW, "dry_run", "dry_run", "Ha"), Post(NOW, "x", "sent", "Ho"))))[
        "posts"
    ]
    assert "not sent: a dry run" in told
    assert "on x" in told


def test_without_its_database_the_page_says_so_and_shows_nothing_old() -> None:
    parts = parts_of(None)
    assert "The database does not answer" in parts["link"]
    assert set(parts) == set(PARTS)


@pytest.mark.parametrize("colour", ["text", "note", "live", "los", "down"])
@pytest.mark.parametrize("ground", ["ground", "panel"])
def test_every_text_has_the_contrast_that_wcag_asks_for_at_level_aa(colour: str, ground: str) -> None:
    lighter, darker = sorted((luminance(COLOURS[colour]), luminance(COLOURS[ground])), reverse=True)
    assert (lighter + 0.05) / (darker + 0.05) >= 4.5


def luminance(colour: str) -> float:
    """Relative luminance as WCAG 2 defines it."""
    shares = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
