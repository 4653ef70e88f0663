"""The wire protocol's lines: what one side formats, the other side reads back unchanged."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest_daemon.tlcp import (
    Notification,
    ProtocolError,
    Request,
    decode_values,
    encode_values,
    format_notification,
    format_request,
    format_update,
    parse_notification,
    parse_parameters,
    parse_request,
)

hostile = st.text(alphabet=st.sampled_from("#$^|%,\r\n 0ä€\U0001f6bd+&=2A"), max_size=6)
value = st.one_of(st.none(), hostile, st.text(max_size=8))


@st.composite
def rows(draw: st.DrawFn) -> list[list[str | None]]:
    width = draw(st.integers(1, 7))
    alphabet = draw(st.lists(value, min_size=1, max_size=4))
    return draw(st.lists(st.lists(st.sampled_from(alphabet), min_size=width, max_size=width), min_size=1))


@given(rows())
def test_a_sequence_of_updates_is_decoded_to_the_values_that_were_encoded(
    sequence: list[list[str | None]],
) -> None:
    sent: list[str | None] | None = None
    received: tuple[str | None, ...] | None = None
    for values in sequence:
        line = format_update(1, 1, encode_values(values, sent))
        assert "\r" not in line
        assert "\n" not in line
        received = decode_values(parse_notification(line).arguments[2], received, len(values))
        assert received == tuple(values)
        sent = values


@given(st.lists(value, min_size=1, max_size=7))
def test_the_first_update_of_an_item_carries_every_field(values: list[str | None]) -> None:
    tokens = encode_values(values, None).split("|")
    assert len(tokens) == len(values)
    assert all(token and token[0] != "^" for token in tokens)


@given(st.text(min_size=1, alphabet="ABCDEF"), st.lists(hostile))
def test_a_notification_comes_back_with_its_arguments(tag: str, arguments: list[str]) -> None:
    assert parse_notification(format_notification(tag, *arguments)) == Notification(tag, tuple(arguments))


parameters = st.dictionaries(hostile.filter(bool), hostile, min_size=1, max_size=5)


@given(st.sampled_from(["control", "create_session"]), st.lists(parameters, max_size=4))
def test_a_request_comes_back_with_all_its_sub_requests(name: str, sets: list[dict[str, str]]) -> None:
    request = Request(name, tuple(sets))
    assert parse_request(format_request(request)) == request


def test_unchanged_fields_are_left_out_as_the_protocol_says() -> None:
    previous = ("7870.1234", "43", "24", "", None)
    assert encode_values(("7870.1251", "42", "24", "", None), previous) == "7870.1251|42|^3"
    assert encode_values(("7870.1251", "43", "24", "", "x"), previous) == "7870.1251|^3|x"
    assert encode_values(("7870.1251", "43", "8", "", None), previous) == "7870.1251||8|^2"
    assert encode_values(previous, None) == "7870.1234|43|24|$|#"


def test_commas_travel_unescaped_in_values_and_escaped_in_messages() -> None:
    assert encode_values(("a,b",), None) == "a,b"
    assert parse_notification("U,1,2,a,b|c").arguments == ("1", "2", "a,b|c")
    assert format_notification("END", 31, "no, thanks") == "END,31,no%2C thanks"


def test_a_stray_ampersand_is_tolerated() -> None:
    assert parse_parameters("LS_op=add&LS_group=A%20B&") == {"LS_op": "add", "LS_group": "A B"}


@pytest.mark.parametrize("bad", ["1|2", "1|2|3|4", "^9", "^P[]|1|2", "^", "1|^x|2"])
def test_a_value_list_that_does_not_fit_is_refused(bad: str) -> None:
    with pytest.raises(ProtocolError):
        decode_values(bad, ("a", "b", "c"), 3)


@pytest.mark.parametrize("bad", ["|1|2", "1|^2"])
def test_an_unchanged_field_in_a_first_update_is_refused(bad: str) -> None:
    with pytest.raises(ProtocolError):
        decode_values(bad, None, 3)


@pytest.mark.parametrize("bad", ["U,1,1", "U", ""])
def test_a_cut_line_is_refused(bad: str) -> None:
    with pytest.raises(ProtocolError):
        parse_notification(bad)


def test_a_frame_without_a_request_is_refused() -> None:
    with pytest.raises(ProtocolError):
        parse_request("")


def test_only_data_notifications_are_counted() -> None:
    assert parse_notification("CONF,1,unlimited,filtered").is_counted
    assert not parse_notification("PROBE").is_counted
    assert not parse_notification("REQOK,3").is_counted
