"""What systemd hears, over a real datagram socket."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest_daemon.service_manager import ServiceManager


class Listener:
    def __init__(self, address: str) -> None:
        self.address = address
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(f"\0{address[1:]}" if address.startswith("@") else address)
        self.socket.settimeout(60.0)

    def heard(self) -> list[str]:
        return self.socket.recv(4096).decode().split("\n")

    def has_heard_nothing(self) -> bool:
        self.socket.setblocking(False)
        try:
            self.socket.recv(4096)
        except BlockingIOError:
            return True
        finally:
            self.socket.settimeout(60.0)
        return False


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[Listener]:
    listening = Listener(str(tmp_path / "notify"))
    yield listening
    listening.socket.close()


def test_the_first_round_of_the_main_loop_makes_the_service_ready_once(listener: Listener) -> None:
    manager = ServiceManager({"NOTIFY_SOCKET": listener.address})
    assert listener.has_heard_nothing()
    manager.progress("starting", 0.0)
    assert listener.heard() == ["READY=1", "STATUS=starting"]
    manager.progress("starting", 1.0)
    assert listener.has_heard_nothing()
    manager.progress("LIVE", 2.0)
    assert listener.heard() == ["STATUS=LIVE"]
    manager.stopping()
    assert listener.heard() == ["STOPPING=1"]


def test_the_watchdog_is_fed_thrice_within_its_limit_and_by_progress_only(listener: Listener) -> None:
    watchdog = {"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid())}
    manager = ServiceManager({"NOTIFY_SOCKET": listener.address, **watchdog})
    manager.progress("LIVE", 0.0)
    assert listener.heard() == ["READY=1", "STATUS=LIVE", "WATCHDOG=1"]
    for tenth in range(1, 10):
        manager.progress("LIVE", tenth / 10)
    assert listener.has_heard_nothing()
    manager.progress("LIVE", 1.0)
    assert listener.heard() == ["WATCHDOG=1"]
    assert listener.has_heard_nothing()


def test_the_watchdog_of_another_process_is_not_ours_to_feed(listener: Listener) -> None:
    watchdog = {"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getppid())}
    ServiceManager({"NOTIFY_SOCKET": listener.address, **watchdog}).progress("LIVE", 0.0)
    assert "WATCHDOG=1" not in listener.heard()


def test_an_address_in_the_abstract_namespace_works() -> None:
    abstract = Listener(f"@peebot-test-{os.getpid()}")
    ServiceManager({"NOTIFY_SOCKET": abstract.address}).progress("LIVE", 0.0)
    assert abstract.heard()[0] == "READY=1"
    abstract.socket.close()


def test_a_service_manager_that_has_gone_stops_nothing_and_is_complained_of_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    manager = ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "nobody")})
    manager.progress("LIVE", 0.0)
    manager.progress("LOS", 1.0)
    assert len(caplog.records) == 1


def test_without_a_service_manager_nothing_is_sent(caplog: pytest.LogCaptureFixture) -> None:
    manager = ServiceManager({})
    manager.progress("LIVE", 0.0)
    manager.stopping()
    assert not caplog.records
