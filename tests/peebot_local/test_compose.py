from __future__ import annotations

import io
from datetime import date

import pytest
from rich.console import Console

from peebot_local.compose import show_examples
from peebot_local.errors import MendableError


def page(count: int, event: str = "toilet_visit") -> str:
    console = Console(width=200, file=io.StringIO(), record=True)
    show_examples(console, count, seed=1, day=date(2026, 12, 24), event_type=event)
    return console.export_text()


def test_a_page_shows_each_text_with_its_length_and_the_facts_that_it_was_chosen_by() -> None:
    text = page(3)
    assert [f"{n}. " in text for n in (1, 2, 3, 4)] == [True, True, True, False]
    assert text.count(" of 280)") == 3
    assert text.count("🚽") == 3
    assert text.count("started_at 2026-12-24") == 3
    assert "holiday christmas-eve" in text
    assert "None" not in text


def test_a_type_of_event_without_a_joke_is_named_with_those_that_have_some() -> None:
    with pytest.raises(MendableError, match=r"no joke for 'dribble'; there are some for spacewalk"):
        page(1, "dribble")
    assert "🛢" in page(1, "tank_transfer")
