"""The unmodified lightstreamer-client-lib against the simulator: each transport, and what it must survive."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from iss_simulator.thread import ServerThread

if TYPE_CHECKING:
    from conftest import ChildClient, Counter

    RunClient = Callable[..., ChildClient]


@pytest.fixture
def connected(official_client: RunClient, counter: Counter) -> ChildClient:
    """A client over WebSocket that has received 0 … 20."""
    counter.count_to(0)
    client = official_client()
    client.wait_for_value(0)
    counter.count_to(20)
    client.wait_for_value(20)
    return client


@pytest.mark.parametrize(
    "transport",
    [
        "WS-STREAMING",
        "HTTP-STREAMING",
        pytest.param("WS-POLLING", marks=pytest.mark.slow),
        pytest.param("HTTP-POLLING", marks=pytest.mark.slow),
    ],
)
def test_the_client_gets_a_snapshot_and_every_update_on_each_transport(
    transport: str, official_client: RunClient, counter: Counter
) -> None:
    counter.count_to(5)
    client = official_client(transport)
    client.wait_for_value(5)
    counter.count_to(100)
    client.wait_for_value(100)
    assert client.values() == list(range(5, 101))
    assert client.snapshots() == [5]
    assert f"CONNECTED:{transport}" in client.names()


def test_fields_arrive_as_the_feed_sends_them(connected: ChildClient) -> None:
    assert connected.events[-1] == [
        "update",
        "NODE3000005",
        False,
        ["24.00555555556", "20", "24", "", None, "20"],
    ]


@pytest.mark.slow
def test_items_without_a_value_yet_have_no_snapshot(official_client: RunClient, counter: Counter) -> None:
    counter.count_to(3)
    client = official_client("ANY", "TIME_000001,NODE3000005")
    client.wait_for_value(3)
    assert client.values("TIME_000001") == []


@pytest.mark.parametrize("fault", ["drop", pytest.param("close", marks=pytest.mark.slow)])
def test_a_cut_connection_is_recovered_without_loss(
    fault: str, simulator: ServerThread, connected: ChildClient, counter: Counter
) -> None:
    for last in (150, 300):
        if fault == "drop":
            simulator.call(lambda server: server.faults.drop())
        else:
            simulator.wait_for(lambda server: server.faults.close())
        counter.count_to(last - 50)
        connected.wait_for_status("DISCONNECTED:TRYING-RECOVERY")
        connected.wait_for_status("CONNECTED:WS-STREAMING")
        counter.count_to(last)
        connected.wait_for_value(last)
    assert connected.values() == list(range(301))
    assert connected.snapshots() == [0]
    assert connected.names().count("DISCONNECTED:TRYING-RECOVERY") == 2
    assert "unsubscribed" not in connected.names()


@pytest.mark.slow
def test_a_cut_http_stream_is_recovered_without_loss(
    simulator: ServerThread, official_client: RunClient, counter: Counter
) -> None:
    counter.count_to(0)
    client = official_client("HTTP-STREAMING")
    client.wait_for_value(0)
    simulator.call(lambda server: server.faults.drop())
    counter.count_to(200)
    client.wait_for_value(200)
    assert client.values() == list(range(201))


def test_a_forgotten_session_comes_back_with_a_snapshot(
    simulator: ServerThread, connected: ChildClient, counter: Counter
) -> None:
    simulator.call(lambda server: server.faults.forget())
    counter.count_to(30)
    connected.wait_for(lambda event: event == ["unsubscribed"])
    connected.wait_for_value(30)
    assert connected.snapshots() == [0, 30]
    assert connected.names()[-5:] == [
        "unsubscribed", "CONNECTING", "CONNECTED:WS-STREAMING", "subscribed", "frequency"
    ]  # fmt: skip


def test_loop_moves_the_session_to_a_new_connection_unseen(
    simulator: ServerThread, connected: ChildClient, counter: Counter
) -> None:
    before = connected.names()
    simulator.call(lambda server: server.faults.loop())
    counter.count_to(120)
    connected.wait_for_value(120)
    assert connected.values() == list(range(121))
    assert connected.names() == before


@pytest.mark.slow
def test_a_silent_server_is_left_and_found_again_without_loss(
    simulator: ServerThread, connected: ChildClient, counter: Counter
) -> None:
    simulator.call(lambda server: server.faults.hold())
    counter.count_to(60)
    connected.wait_for_status("DISCONNECTED:TRYING-RECOVERY")
    simulator.call(lambda server: server.faults.resume())
    connected.wait_for_value(60)
    assert connected.values() == list(range(61))


@pytest.mark.slow
def test_end_48_makes_a_new_session_at_once(
    simulator: ServerThread, connected: ChildClient, counter: Counter
) -> None:
    simulator.call(lambda server: server.faults.end(48))
    connected.wait_for(lambda event: event[:3] == ["update", "NODE3000005", True])
    assert connected.snapshots() == [0, 20]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (lambda server: server.faults.end(32), 32),
        (lambda server: server.faults.raw("U,1,1"), 61),
    ],
    ids=["END 32", "a cut line"],
)
def test_terminal_errors_disconnect_the_client(
    fault: Callable[..., None], error: int, simulator: ServerThread, connected: ChildClient
) -> None:
    simulator.call(fault)
    assert connected.wait_for(lambda event: event[0] == "server_error")[1] == error
    assert "DISCONNECTED" in connected.names()


def test_a_refused_session_is_a_terminal_error(simulator: ServerThread, official_client: RunClient) -> None:
    simulator.call(lambda server: server.faults.refuse(1, "no, not you"))
    event = official_client().wait_for(lambda event: event[0] == "server_error")
    assert event == ["server_error", 1, "no, not you"]


def test_an_overflow_is_reported_for_its_item(simulator: ServerThread, connected: ChildClient) -> None:
    simulator.call(lambda server: server.faults.overflow("NODE3000005", 7))
    assert connected.wait_for(lambda event: event[0] == "lost") == ["lost", "NODE3000005", 1, 7]


@pytest.mark.slow
def test_unknown_notifications_are_harmless(
    simulator: ServerThread, connected: ChildClient, counter: Counter
) -> None:
    simulator.call(lambda server: server.faults.raw("FOO,1"))
    counter.count_to(25)
    connected.wait_for_value(25)


@pytest.mark.slow
def test_a_change_of_frequency_is_confirmed(connected: ChildClient) -> None:
    connected.say("5")
    assert connected.wait_for(lambda event: event[0] == "frequency") == ["frequency", "unlimited"]


def test_unsubscribe_and_disconnect_leave_no_session(
    connected: ChildClient, wait_until_unbound: Callable[[], None]
) -> None:
    connected.say("unsubscribe")
    connected.wait_for(lambda event: event == ["unsubscribed"])
    connected.say("disconnect")
    connected.wait_for_status("DISCONNECTED")
    wait_until_unbound()
