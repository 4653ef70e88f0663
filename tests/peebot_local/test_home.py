from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from peebot_local.errors import MendableError
from peebot_local.home import Home, RunnerState

HOLD = """
import sys, time
from pathlib import Path
from peebot_local.home import Home
with Home(Path(sys.argv[1])).hold():
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_second_runner_is_refused_and_told_the_pid_of_the_first(home: Home) -> None:
    refusal = pytest.raises(MendableError, match=f"already runs on .* with pid {os.getpid()}")
    with home.hold(), refusal, Home(home.path).hold():
        pytest.fail("two runners hold one home")


def test_the_lock_of_a_killed_runner_counts_for_nothing(home: Home) -> None:
    runner = subprocess.Popen([sys.executable, "-c", HOLD, str(home.path)], stdout=subprocess.PIPE, text=True)
    assert runner.stdout is not None
    assert runner.stdout.readline() == "held\n"
    assert home.running() == RunnerState(pid=runner.pid)
    runner.kill()
    runner.wait()
    assert home.running() is None
    with home.hold():
        assert home.running() == RunnerState(pid=os.getpid())


def test_what_the_runner_announces_is_gone_when_it_has_ended(home: Home) -> None:
    with home.hold():
        home.announce(RunnerState(pid=1, ui_url="http://127.0.0.1:3000"))
        assert home.running() == RunnerState(pid=1, ui_url="http://127.0.0.1:3000")
    assert home.running() is None


def test_a_home_that_cannot_be_made_is_one_line_that_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    refusal = pytest.raises(MendableError, match="set PEEBOT_HOME to another folder")
    with refusal, Home(tmp_path / "file" / "home").hold():
        pytest.fail("a file is held as a folder")
