from __future__ import annotations

import pytest

from ingest_daemon.channel_slice import ChannelSlice, NoSuchChannelError

CATALOGUE = ["NODE3000004", "NODE3000005", "P1000001", "TIME_000001", "TIME_000002", "node3"]


def items(text: str) -> list[str]:
    return ChannelSlice.read(text).items(CATALOGUE)


@pytest.mark.parametrize("text", ["", " ", ",", " , "])
def test_without_a_pattern_it_is_the_whole_catalogue(text: str) -> None:
    assert items(text) == CATALOGUE


def test_items_and_patterns_choose_in_the_order_of_the_catalogue() -> None:
    assert items(" P1000001, NODE3* ") == ["NODE3000004", "NODE3000005", "P1000001", "TIME_000001"]
    assert items("TIME_*") == ["TIME_000001", "TIME_000002"]
    assert items("NODE300000[5-9],*2") == ["NODE3000005", "TIME_000001", "TIME_000002"]


def test_the_stations_clock_is_always_there_once() -> None:
    assert items("NODE3000005") == ["NODE3000005", "TIME_000001"]
    assert ChannelSlice.read("A*").items(["A1"]) == ["A1", "TIME_000001"]
    assert items("TIME_000001").count("TIME_000001") == 1


def test_an_item_that_the_catalogue_does_not_know_is_listened_to_when_it_is_named() -> None:
    assert items("NEW000001,NODE3000005") == ["NODE3000005", "TIME_000001", "NEW000001"]


def test_a_pattern_that_matches_nothing_is_an_error_that_names_it() -> None:
    with pytest.raises(NoSuchChannelError, match=r"NODE9\*"):
        items("NODE3*,NODE9*")
