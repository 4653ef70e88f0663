"""The tools that check what is deployed; CI has them all (.ci/run)."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable

import pytest


@pytest.fixture(scope="session")
def tool() -> Callable[[str], str]:
    """The path of a command; skips where it is not installed, but fails in CI."""

    def find(command: str) -> str:
        found = shutil.which(command)
        if found is None:
            assert "PEEBOT_REQUIRE_DEPLOY_TOOLS" not in os.environ, f"{command} is not installed"
            pytest.skip(f"{command} is not installed")
        return found

    return find
