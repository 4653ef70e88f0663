from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from peebot_local.embedded_postgres import EmbeddedPostgres

PROJECT = Path(__file__).resolve().parents[2]
Bench = Callable[..., dict[str, Any]]


@pytest.fixture
def bench(postgres_server: EmbeddedPostgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """Run a benchmark from the command line on the tests' server; returns its JSON."""
    monkeypatch.setenv("PEEBOT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PEEBOT_DATABASE_URL", postgres_server.url("postgres"))

    def run(name: str, *arguments: str, timeout_s: float = 120.0) -> dict[str, Any]:
        result = tmp_path / f"{name}.json"
        command = [sys.executable, "-P", "-m", "peebot_local", "bench", name, "--json", str(result)]
        subprocess.run([*command, *arguments], cwd=PROJECT, check=True, timeout=timeout_s)
        parsed: dict[str, Any] = json.loads(result.read_text())
        return parsed

    return run
