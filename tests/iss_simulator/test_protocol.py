"""What the server says line by line, to a client that is only a socket: the rules that clients rely on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import aiohttp
import pytest

from ingest_daemon.tlcp import Request, format_parameters, format_request
from iss_simulator.feed import Update
from iss_simulator.server import SimulatorServer
from iss_simulator.session_log import SessionLog
from iss_simulator.switchboard import Switchboard

PROTOCOL = "TLCP-2.5.0.lightstreamer.com"
CREATE = {"LS_adapter_set": "ISSLIVE", "LS_cid": "any", "LS_send_sync": "false", "LS_cause": "api"}
ADD = {
    "LS_reqId": "1",
    "LS_op": "add",
    "LS_subId": "1",
    "LS_mode": "MERGE",
    "LS_group": "NODE3000005 TIME_000001",
    "LS_schema": "Value Status.Class",
    "LS_snapshot": "true",
    "LS_ack": "false",
}


def level(value: int) -> Update:
    return Update("NODE3000005", datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=value), str(value))


class Wire:
    """Sends requests as they stand, and reads lines."""

    def __init__(self, url: str, http: aiohttp.ClientSession) -> None:
        self._url = url
        self._http = http
        self._lines: list[str] = []

    async def open(self) -> None:
        self._socket = await self._http.ws_connect(f"{self._url}/lightstreamer", protocols=[PROTOCOL])
        assert self._socket.protocol == PROTOCOL

    async def send(self, name: str, *parameters: dict[str, str]) -> None:
        await self._socket.send_str(format_request(Request(name, parameters)))

    async def line(self) -> str:
        while not self._lines:
            self._lines = (await self._socket.receive_str()).removesuffix("\r\n").split("\r\n")
        return self._lines.pop(0)

    async def lines(self, count: int) -> list[str]:
        return [await self.line() for _ in range(count)]

    async def create(self, **more: str) -> str:
        """Create a session; its id."""
        await self.send("create_session", {**CREATE, **more})
        return (await self.lines(4))[0].split(",")[1]

    async def post(self, name: str, parameters: dict[str, str]) -> list[str]:
        """An HTTP request to its end; the lines of the answer."""
        address = f"{self._url}/lightstreamer/{name}.txt?LS_protocol=TLCP-2.5.0"
        async with self._http.post(address, data=format_parameters(parameters)) as response:
            return (await response.text()).removesuffix("\r\n").split("\r\n")


Scenario = Callable[[SimulatorServer, Wire], Awaitable[None]]


def play(scenario: Scenario, switchboard: Callable[[], Switchboard] = Switchboard) -> None:
    """Run a scenario against a fresh server."""

    async def run() -> None:
        async with (
            asyncio.timeout(20),
            SimulatorServer(switchboard=switchboard()) as server,
            aiohttp.ClientSession() as http,
        ):
            wire = Wire(server.url, http)
            await wire.open()
            await scenario(server, wire)

    asyncio.run(run())


def test_a_session_begins_as_the_specification_says() -> None:
    async def scenario(server: SimulatorServer, wire: Wire) -> None:
        server.publish(level(42))
        await wire.send("wsok")
        await wire.send("create_session", CREATE)
        wsok, conok, *rest = await wire.lines(5)
        assert wsok == "WSOK"
        assert conok.startswith("CONOK,S")
        assert conok.endswith(",50000,5000,*")
        assert rest == ["SERVNAME,Lightstreamer HTTP Server", "CLIENTIP,127.0.0.1", "CONS,unlimited"]
        await wire.send("control", ADD)
        assert await wire.lines(3) == ["SUBOK,1,2,2", "CONF,1,unlimited,filtered", "U,1,1,42|24"]
        server.publish(level(43))
        assert await wire.line() == "U,1,1,43|"

    play(scenario)


def test_several_requests_in_one_frame_are_each_answered() -> None:
    async def scenario(server: SimulatorServer, wire: Wire) -> None:
        await wire.create()
        constrain = {"LS_reqId": "7", "LS_op": "constrain", "LS_requested_max_bandwidth": "5"}
        missing = {"LS_reqId": "8", "LS_op": "delete", "LS_subId": "9", "LS_ack": "false"}
        await wire.send("control", constrain, missing)
        assert await wire.lines(3) == [
            "REQOK,7", "REQERR,8,19,Specified subscription not found", "CONS,unlimited"
        ]  # fmt: skip

    play(scenario)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"LS_mode": "COMMAND"}, 24),
        ({"LS_group": "NODE3000005 UNHEARD_OF"}, 21),
        ({"LS_group": " "}, 21),
        ({"LS_schema": "Value Colour"}, 23),
        ({"LS_data_adapter": "OTHER"}, 17),
        ({"LS_op": "dance"}, 67),
    ],
)
def test_a_bad_subscription_is_refused_with_its_code(change: dict[str, str], code: int) -> None:
    async def scenario(_: SimulatorServer, wire: Wire) -> None:
        await wire.create()
        await wire.send("control", {**ADD, **change})
        assert (await wire.line()).startswith(f"REQERR,1,{code},")

    play(scenario, lambda: Switchboard(items={"NODE3000005", "TIME_000001"}))


@pytest.mark.parametrize("frame", ["", "control\r\nLS_reqId=1&LS_op=reconf&LS_subId=x", "sing\r\n"])
def test_nonsense_is_answered_with_an_error(frame: str) -> None:
    async def scenario(_: SimulatorServer, wire: Wire) -> None:
        await wire.create()
        await wire._socket.send_str(frame)
        assert (await wire.line()).startswith("ERROR,")

    play(scenario)


def test_a_wrong_adapter_set_is_refused() -> None:
    async def scenario(_: SimulatorServer, wire: Wire) -> None:
        await wire.send("create_session", {**CREATE, "LS_adapter_set": "MARSLIVE"})
        assert (await wire.line()).startswith("CONERR,2,")

    play(scenario)


def test_nothing_of_a_deleted_subscription_follows_its_unsub() -> None:
    async def scenario(server: SimulatorServer, wire: Wire) -> None:
        await wire.create()
        await wire.send("control", ADD)
        await wire.lines(2)
        await wire.send("control", {"LS_reqId": "2", "LS_op": "delete", "LS_subId": "1"})
        assert set(await wire.lines(2)) == {"REQOK,2", "UNSUB,1"}
        server.publish(level(1))
        await wire.send("control", {"LS_reqId": "3", "LS_op": "destroy"})
        assert await wire.lines(2) == ["REQOK,3", "END,31,Destroy invoked by client"]

    play(scenario)


def test_a_quiet_stream_is_kept_alive_by_probes() -> None:
    async def scenario(_: SimulatorServer, wire: Wire) -> None:
        await wire.create(LS_keepalive_millis="200")
        assert await wire.lines(2) == ["PROBE", "PROBE"]

    play(scenario)


def test_recovery_repeats_exactly_the_lines_after_the_given_one() -> None:
    async def scenario(server: SimulatorServer, wire: Wire) -> None:
        session = await wire.create()
        await wire.send("control", ADD)
        await wire.lines(2)
        for value in range(10):
            server.publish(level(value))
        await wire.lines(10)
        server.faults.drop()
        recovery = {
            "LS_session": session,
            "LS_polling": "true",
            "LS_idle_millis": "0",
            "LS_recovery_from": "7",
        }
        lines = await wire.post("bind_session", recovery)
        assert lines[4:] == ["PROG,7", "U,1,1,5|", "U,1,1,6|", "U,1,1,7|", "U,1,1,8|", "U,1,1,9|", "LOOP,0"]
        server.publish(level(10))
        await wire.open()
        await wire.send("bind_session", {"LS_session": session, "LS_send_sync": "false"})
        assert (await wire.lines(5))[4] == "U,1,1,10|"

    play(scenario)


def test_recovery_from_a_point_that_is_not_kept_ends_the_session() -> None:
    async def scenario(server: SimulatorServer, wire: Wire) -> None:
        session = await wire.create()
        await wire.send("control", ADD)
        await wire.lines(2)
        for value in range(300):
            server.publish(level(value))
        await wire.lines(300)
        recovery = {"LS_session": session, "LS_polling": "true", "LS_recovery_from": "3"}
        assert (await wire.post("bind_session", recovery))[0].startswith("CONERR,4,")
        assert (await wire.post("bind_session", recovery))[0].startswith("CONERR,20,")

    play(scenario, lambda: Switchboard(keep_lines=50))


def test_an_unbound_session_expires() -> None:
    async def scenario(server: SimulatorServer, wire: Wire) -> None:
        session = await wire.create()
        server.faults.drop()
        while server.switchboard.sessions:
            server.switchboard.session_changed.clear()
            await server.switchboard.session_changed.wait()
        assert (await wire.post("bind_session", {"LS_session": session}))[0].startswith("CONERR,20,")

    play(scenario, lambda: Switchboard(session_timeout_s=0.1))


def test_a_session_moves_to_the_connection_that_bound_it_last() -> None:
    async def scenario(server: SimulatorServer, wire: Wire) -> None:
        session = await wire.create()
        await wire.send("control", ADD)
        await wire.lines(2)
        async with aiohttp.ClientSession() as http:
            other = Wire(server.url, http)
            await other.open()
            await other.send("bind_session", {"LS_session": session})
            await other.lines(4)
            server.publish(level(1))
            assert await other.line() == "U,1,1,1|24"
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await wire.line()

    play(scenario)


def test_the_content_length_of_a_stream_ends_it_with_loop() -> None:
    async def scenario(server: SimulatorServer, wire: Wire) -> None:
        session = await wire.create()
        await wire.send("control", ADD)
        await wire.lines(2)
        bind = {"LS_session": session, "LS_content_length": "40", "LS_send_sync": "false"}
        answer = asyncio.create_task(wire.post("bind_session", bind))
        value = 0
        while not answer.done():
            server.publish(level(value := value + 1))
            await asyncio.sleep(0.01)
        *lines, last = (await answer)[4:]
        assert last == "LOOP,0"
        assert 40 <= sum(len(line) + 2 for line in lines) < 60

    play(scenario)


def test_one_request_can_create_subscribe_and_read_the_current_value() -> None:
    async def scenario(server: SimulatorServer, wire: Wire) -> None:
        server.publish(level(42))
        lines = await wire.post("create_session", {**CREATE, **ADD, "LS_polling": "true"})
        assert lines[4:] == ["SUBOK,1,2,2", "CONF,1,unlimited,filtered", "U,1,1,42|24", "LOOP,0"]

    play(scenario)


def test_faults_can_be_ordered_over_http() -> None:
    async def scenario(server: SimulatorServer, wire: Wire) -> None:
        await wire.create()
        async with aiohttp.ClientSession() as http:
            async with http.post(f"{server.url}/control/raw?line=HELLO") as response:
                assert (await response.json())["bound"] == 1
            assert await wire.line() == "HELLO"
            async with http.post(f"{server.url}/control/dance") as response:
                assert response.status == 404
            async with http.post(f"{server.url}/control/overflow") as response:
                assert response.status == 400

    play(scenario)


def test_the_log_keeps_what_was_not_sent_yet_however_little_it_keeps() -> None:
    log = SessionLog(keep=2)
    for number in range(100):
        log.append(str(number))
    assert [line for _ in range(100) for line in log.take(1)] == [str(number) for number in range(100)]
    assert not log.rewind(10)
    assert not log.rewind(101)
    assert log.rewind(98)
    assert log.take(10) == ["98", "99"]
