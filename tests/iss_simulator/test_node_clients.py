"""Two more clients that the simulator did not write: npm lightstreamer-client-node 9.2.2, and 8.0.5.

8.0.5 is older, hand-written and speaks TLCP 2.1.0: the check that does not share code with the Python client.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from iss_simulator.thread import ServerThread

if TYPE_CHECKING:
    from conftest import ChildClient, Counter

pytestmark = pytest.mark.slow

SOURCE = Path(__file__).parent / "node"
UNREACHABLE = ("ENOTFOUND", "ECONNREFUSED", "ETIMEDOUT", "EAI_AGAIN", "ENETUNREACH")
TRANSPORTS = ["WS-STREAMING", "HTTP-STREAMING", "WS-POLLING", "HTTP-POLLING"]


@pytest.fixture(scope="session")
def node_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder outside of the project with both packages installed as locked."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("node and npm are needed to run the Node clients")
    folder = tmp_path_factory.mktemp("node")
    for name in ("package.json", "package-lock.json", "client.js"):
        shutil.copy(SOURCE / name, folder)
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    npm = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    if any(code in npm.stderr for code in UNREACHABLE):
        pytest.skip("the npm registry cannot be reached")
    assert npm.returncode == 0, npm.stderr
    return folder


@pytest.fixture(params=["lightstreamer-client-9", "lightstreamer-client-8"])
def node_client(
    request: pytest.FixtureRequest,
    node_project: Path,
    simulator: ServerThread,
    run_client: Callable[[list[str]], ChildClient],
) -> Callable[[str], ChildClient]:
    def run(transport: str) -> ChildClient:
        script = str(node_project / "client.js")
        return run_client(["node", script, request.param, simulator.url, transport, "NODE3000005"])

    return run


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_node_client_gets_a_snapshot_and_every_update(
    transport: str, node_client: Callable[[str], ChildClient], counter: Counter
) -> None:
    counter.count_to(5)
    client = node_client(transport)
    client.wait_for_value(5)
    counter.count_to(100)
    client.wait_for_value(100)
    assert client.values() == list(range(5, 101))
    assert client.snapshots() == [5]
    assert client.events[-1][3] == ["24.02777777778", "100", "24", "", None, "100"]
    assert f"CONNECTED:{transport}" in client.names()


@pytest.mark.parametrize("transport", ["WS-STREAMING", "HTTP-STREAMING"])
def test_a_node_client_recovers_a_cut_connection_without_loss(
    transport: str,
    simulator: ServerThread,
    node_client: Callable[[str], ChildClient],
    counter: Counter,
) -> None:
    counter.count_to(0)
    client = node_client(transport)
    client.wait_for_value(0)
    simulator.call(lambda server: server.faults.drop())
    counter.count_to(100)
    client.wait_for_value(100)
    assert client.values() == list(range(101))
    assert "unsubscribed" not in client.names()


def test_a_node_client_gets_a_snapshot_after_its_session_was_forgotten(
    simulator: ServerThread, node_client: Callable[[str], ChildClient], counter: Counter
) -> None:
    counter.count_to(0)
    client = node_client("WS-STREAMING")
    client.wait_for_value(0)
    simulator.call(lambda server: server.faults.forget())
    counter.count_to(10)
    client.wait_for_value(10)
    assert client.snapshots() == [0, 10]


def test_a_node_client_that_disconnects_leaves_no_session(
    node_client: Callable[[str], ChildClient], counter: Counter, wait_until_unbound: Callable[[], None]
) -> None:
    counter.count_to(0)
    client = node_client("WS-STREAMING")
    client.wait_for_value(0)
    client.say("disconnect")
    client.wait_for_status("DISCONNECTED")
    wait_until_unbound()
