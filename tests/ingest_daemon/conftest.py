"""A feed without a network: the test decides how its connection is."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from ingest_daemon.link import Connection


class FakeFeed:
    def __init__(self) -> None:
        self.is_open = False
        self.opened: list[Sequence[str]] = []
        self.tended = 0
        self.state = Connection.CONNECTED

    def open(self, items: Sequence[str]) -> None:
        assert not self.is_open
        self.is_open = True
        self.opened.append(items)

    def connection(self) -> Connection:
        return self.state

    def describe(self) -> str:
        return self.state.value

    def tend(self) -> None:
        self.tended += 1

    def close(self) -> None:
        self.is_open = False


@pytest.fixture
def fake_feed() -> FakeFeed:
    return FakeFeed()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with 1 MB of room."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this machine does not let even root mount a small disk")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)
