from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peebot_dagster.posts.weighted_length import URL_WEIGHT, weighted_length


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("", 0),
        ("Houston", 7),
        ("Grüße, señor", 12),
        ("“quoted” — yes…", 16),
        ("日本", 4),
        ("한글", 4),
        ("→", 2),
        ("€", 2),
        ("🚽", 2),
        ("☕", 2),
        ("🛰️", 2),
        ("👩🏽‍🚀", 2),
        ("👨‍👩‍👧‍👦", 2),
        ("🇪🇺", 2),
        ("1️⃣", 2),
        ("🏴󠁧󠁢󠁥󠁮󠁧󠁿", 2),
        ("©", 1),
        ("👍👍", 4),
    ],
)
def test_characters_weigh_what_x_publishes(text: str, length: int) -> None:
    assert weighted_length(text) == length


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("https://example.com", 23),
        ("http://example.com/" + "long/" * 60, 23),
        ("see https://example.com/a?b=c now", 4 + 23 + 4),
        ("example.com", 23),
        ("two.example.com example.org", 23 + 1 + 23),
        ("Delta-V: zero. Delta-P: +3%.", 28),
        ("at 06:42, 42.5% e.g. 1.5", 24),
    ],
)
def test_a_url_weighs_23_however_long_it_is(text: str, length: int) -> None:
    assert weighted_length(text) == length


def test_a_decomposed_character_weighs_as_much_as_its_composed_form() -> None:
    assert weighted_length(unicodedata.normalize("NFD", "café")) == weighted_length("café") == 4


@given(st.text(), st.text())
def test_words_apart_weigh_the_sum_of_their_weights(left: str, right: str) -> None:
    together = weighted_length(f"{left} \n {right}")
    assert together == weighted_length(left) + weighted_length(f" \n {right}")


@given(st.text(st.characters(max_codepoint=0x2FF, exclude_characters="./:©®#*0123456789")))
def test_latin_text_without_a_url_weighs_its_number_of_characters(text: str) -> None:
    assert weighted_length(text) == len(unicodedata.normalize("NFC", text))


@given(st.text(min_size=1))
def test_a_text_is_never_lighter_than_nothing_and_never_heavier_than_its_urls_and_doubled_characters(
    text: str,
) -> None:
    composed = unicodedata.normalize("NFC", text)
    assert 0 < weighted_length(text) <= 2 * len(composed) + URL_WEIGHT * composed.count(".")
