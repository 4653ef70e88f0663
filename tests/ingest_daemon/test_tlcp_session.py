"""A TLCP session without a network: lines in, events and requests out."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from ingest_daemon.feed import FIELDS, FeedEvent, Heard, LineRejected, UpdatesLost
from ingest_daemon.tlcp import ProtocolError
from ingest_daemon.tlcp_session import LINE_LIMIT, SessionOverError, TlcpSession, groups_of

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HEAD = "CONOK,S1,50000,2000,*"
FULL = "1452.0|17|24|$|#|17"


class Peer:
    """Feeds lines to a session and remembers what came of them."""

    def __init__(self, *items: str, confirm: bool = True) -> None:
        self.session = TlcpSession("ISSLIVE", [items or ("A", "B")])
        self.events: list[FeedEvent] = []
        self.session.begin_connection()
        self.session.take_requests()
        self.say(HEAD)
        self.subscribed = self.requests()
        if confirm:
            self.say(f"SUBOK,1,{len(items) or 2},6", "CONF,1,unlimited,filtered")

    def say(self, *lines: str) -> None:
        self.session.receive("\r\n".join(lines), NOW, 1.0, self.events)

    def requests(self) -> list[dict[str, str]]:
        return [
            dict(parameters, request=request.name)
            for request in self.session.take_requests()
            for parameters in request.parameters
        ]

    def reconnect(self) -> dict[str, str]:
        self.session.begin_connection()
        return self.requests()[0]

    def values(self) -> list[tuple[str, str | None, bool]]:
        updates = [event.update for event in self.events if isinstance(event, Heard)]
        return [(update.item, update.value, update.is_snapshot) for update in updates]


def test_a_session_is_created_and_every_group_subscribed_unconflated() -> None:
    session = TlcpSession("ISSLIVE", groups_of([f"ITEM{n}" for n in range(120)]))
    session.begin_connection()
    wsok, create = session.take_requests()
    assert (wsok.name, create.name) == ("wsok", "create_session")
    assert create.parameters[0]["LS_adapter_set"] == "ISSLIVE"
    session.receive(HEAD, NOW, 1.0, [])
    (control,) = session.take_requests()
    groups = [parameters["LS_group"].split() for parameters in control.parameters]
    assert groups[0] == ["TIME_000001"]
    assert [len(group) for group in groups] == [1, 50, 50, 20]
    assert {parameters["LS_requested_buffer_size"] for parameters in control.parameters} == {"unlimited"}
    assert {parameters["LS_schema"] for parameters in control.parameters} == {" ".join(FIELDS)}


def test_each_item_has_a_baseline_of_its_own_and_its_first_update_is_the_snapshot() -> None:
    peer = Peer()
    peer.say(f"U,1,1,{FULL}", "U,1,2,1452.1|5|24|$|#|5", "U,1,1,|18|^4", "U,1,2,1452.2|^5")
    assert peer.values() == [("A", "17", True), ("B", "5", True), ("A", "18", False), ("B", "5", False)]
    last = peer.events[-1]
    assert isinstance(last, Heard)
    assert last.update[:7] == ("B", "1452.2", "5", "24", "", None, "5")


def test_a_cut_connection_goes_on_after_the_last_line_that_was_counted() -> None:
    peer = Peer()
    peer.say(f"U,1,1,{FULL}", "PROBE", "OV,1,2,3", "U,1,1,|18|^4", "NOOP,x", "EOS,1,1")
    bind = peer.reconnect()
    assert (bind["request"], bind["LS_session"], bind["LS_recovery_from"]) == ("bind_session", "S1", "6")
    peer.say(HEAD, "PROG,6", "U,1,1,|19|^4")
    assert peer.values() == [("A", "17", True), ("A", "18", False), ("A", "19", False)]
    assert peer.reconnect()["LS_recovery_from"] == "7"


def test_what_a_recovery_repeats_is_left_out() -> None:
    peer = Peer()
    peer.say(f"U,1,1,{FULL}", "U,1,1,|18|^4", "OV,1,2,3", "U,1,1,|19|^4")
    peer.reconnect()
    peer.say(HEAD, "PROG,3", "U,1,1,|18|^4", "OV,1,2,3", "U,1,1,|19|^4", "U,1,1,|20|^4")
    assert [value for _, value, _ in peer.values()] == ["17", "18", "19", "20"]
    assert sum(isinstance(event, UpdatesLost) for event in peer.events) == 1
    assert peer.reconnect()["LS_recovery_from"] == "7"


def test_a_loop_is_a_plain_bind_and_a_cut_after_it_a_recovery() -> None:
    peer = Peer()
    peer.say("LOOP,50")
    assert peer.session.loop_after_s == 0.05
    assert "LS_recovery_from" not in peer.reconnect()
    assert peer.session.loop_after_s is None
    assert peer.reconnect()["LS_recovery_from"] == "2"


def test_a_session_with_an_unanswered_request_is_not_recoverable() -> None:
    assert Peer().session.is_recoverable
    assert not Peer(confirm=False).session.is_recoverable


def test_what_the_server_has_skipped_is_told_with_its_item() -> None:
    peer = Peer()
    peer.say("OV,1,2,7")
    assert peer.events == [UpdatesLost("B", 7, NOW)]


@pytest.mark.parametrize("refusal", ["REQERR,{},21,Bad item", "SUBOK,{},3,6", "SUBOK,{},{n},5"])
def test_a_refused_group_is_halved_until_only_the_bad_item_is_left_out(
    refusal: str, caplog: pytest.LogCaptureFixture
) -> None:
    items = [f"ITEM{n}" for n in range(9)]
    peer = Peer(*items, confirm=False)
    good: list[str] = []
    asked = peer.subscribed
    while asked:
        for request in [request for request in asked if request["LS_op"] == "add"]:
            group, number = request["LS_group"].split(), request["LS_subId"]
            if "ITEM4" in group:
                peer.say(refusal.format(number, n=len(group)))
            else:
                peer.say(f"SUBOK,{number},{len(group)},6")
                good += group
        asked = peer.requests()
    assert sorted(good) == [item for item in items if item != "ITEM4"]
    assert "refuses item ITEM4" in caplog.text
    assert peer.session.is_recoverable
    successor = peer.session.successor()
    successor.begin_connection()
    successor.take_requests()
    successor.receive(HEAD, NOW, 1.0, [])
    again = [p["LS_group"] for request in successor.take_requests() for p in request.parameters]
    assert sorted(" ".join(again).split()) == sorted(good)


@pytest.mark.parametrize(
    "line", ["END,48,max duration", "CONERR,4,no, not any more", "ERROR,65,syntax", "REQERR,1,20,gone"]
)
def test_the_end_of_a_session_is_told(line: str) -> None:
    with pytest.raises(SessionOverError, match=r"48|4|65|20"):
        Peer().say(line)


def test_updates_before_the_subscription_is_confirmed_or_of_none_are_counted_only() -> None:
    peer = Peer(confirm=False)
    peer.say(f"U,1,1,{FULL}", "U,77,1,x", "SUBOK,1,2,6", f"U,1,1,{FULL}")
    assert peer.values() == [("A", "17", True)]
    assert peer.session.received == 4


def test_an_unknown_notification_is_reported_and_harmless() -> None:
    peer = Peer()
    peer.say("FOO,1", f"U,1,1,{FULL}")
    assert peer.events[0] == LineRejected("FOO,1", "unknown_notification", NOW)
    assert peer.values() == [("A", "17", True)]


def test_the_server_may_send_us_to_another_host_but_only_to_a_host() -> None:
    peer = Peer()
    peer.reconnect()
    peer.say("CONOK,S1,50000,2000,push2.example.org:8080", "PROG,2")
    assert peer.session.host == "push2.example.org:8080"
    peer.reconnect()
    with pytest.raises(ProtocolError):
        peer.say("CONOK,S1,50000,2000,user@evil/path?")


@pytest.mark.parametrize(
    "line",
    [
        "U,1,1", "U", "U,", "U,1,3,x", "U,1,0,x", "U,1,-1,x", "U,1,1,|1", "U,1,1,1|2|3",
        f"U,1,1,{FULL}|7", "U,1,1,^P[]|1|2|3|4|5", "UNSUB,1", "SUBOK,1", "SUBOK,1,two,6", "OV,1,1,many",
        "OV,1,1", "PROG,1", "PROG,x", "LOOP", "LOOP,-1", "LOOP,٣", "CONOK", "CONOK,S2,1,1,*", "END", "END,x",
        "SUBCMD,1,1,6,1,2", ",", "lower,1", "<html>", "\x00", "U,1,1," + "x" * LINE_LIMIT, "REQERR,1",
        "LOOP," + "9" * 5000, "U,1,1,^" + "9" * 5000,
    ],
)  # fmt: skip
def test_what_no_server_may_say_is_refused_as_such(line: str) -> None:
    peer = Peer()
    before: list[Any] = list(peer.events)
    with pytest.raises(ProtocolError):
        peer.say(line)
    assert peer.events == before


def test_of_a_long_field_no_more_is_kept_than_it_takes_to_reject_it() -> None:
    peer = Peer()
    peer.say(f"U,1,1,{'1' * 2000}|{'x' * 3000}|{'2' * 2000}|{'r' * 2000}|#|$", "U,1,1,|17|^4")
    long, later = [event.update for event in peer.events if isinstance(event, Heard)]
    lengths = [None if text is None else len(text) for text in long[1:7]]
    assert lengths == [101, 1001, 101, 101, None, 0]
    assert (later.value, len(later.status_indicator or "")) == ("17", 101)


def test_what_came_before_a_bad_line_is_kept() -> None:
    peer = Peer()
    with pytest.raises(ProtocolError):
        peer.say(f"U,1,1,{FULL}", "U,1,1")
    assert peer.values() == [("A", "17", True)]


@pytest.mark.parametrize("lines", [["U,1,1,x"], [HEAD, "U,1,1,|19|^4"], [HEAD, "PROG,3"], [HEAD, HEAD]])
def test_data_is_refused_until_the_server_has_said_where_it_goes_on(lines: list[str]) -> None:
    peer = Peer()
    peer.reconnect()
    with pytest.raises(ProtocolError):
        peer.say(*lines)
