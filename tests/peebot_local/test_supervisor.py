from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from peebot_local.errors import MendableError
from peebot_local.home import Home
from peebot_local.interruption import StopRequested, StopSignals
from peebot_local.processes import StopManner
from peebot_local.supervisor import Child, Supervisor

MakeChild = Callable[..., Child]
Wait = Callable[[Callable[[], bool]], None]
SLEEP = "import time; time.sleep(600)"
STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("up", flush=True)
time.sleep(600)
"""
PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session={session})
print(child.pid, flush=True)
time.sleep(600)
"""


def lives(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def test_a_killed_child_is_started_again(
    supervisor: Supervisor, python_child: MakeChild, wait_until: Wait
) -> None:
    pid = supervisor.start(python_child("sleeper", SLEEP))
    os.kill(pid, signal.SIGKILL)

    def restarted() -> bool:
        supervisor.watch()
        return supervisor.restarts["sleeper"] == 1

    wait_until(restarted)


def test_a_child_that_keeps_dying_stops_the_whole_with_its_last_lines(
    home: Home, python_child: MakeChild, wait_until: Wait
) -> None:
    now = [0.0]
    supervisor = Supervisor(home, StopSignals(), clock=lambda: now[0])
    supervisor.start(python_child("broken", "print('out of tea'); raise SystemExit(3)"))

    def watch() -> bool:
        now[0] += 1.0
        supervisor.watch()
        return False

    with pytest.raises(MendableError, match="broken keeps dying") as failure:
        wait_until(watch)
    assert failure.value.details[-1] == "out of tea"
    supervisor.stop_all()


def test_a_child_waits_for_its_database_before_it_is_started_again(
    supervisor: Supervisor, python_child: MakeChild, wait_until: Wait
) -> None:
    asked: list[bool] = []

    def may_restart() -> bool:
        asked.append(True)
        return len(asked) > 3

    pid = supervisor.start(python_child("sleeper", SLEEP, may_restart=may_restart))
    os.kill(pid, signal.SIGKILL)

    def restarted() -> bool:
        supervisor.watch()
        return supervisor.restarts["sleeper"] == 1

    wait_until(restarted)
    assert len(asked) == 4


def test_children_stop_in_reverse_order(supervisor: Supervisor, tmp_path: Path, wait_until: Wait) -> None:
    order = tmp_path / "order"
    program = textwrap.dedent(
        """
        import signal, sys, time
        from pathlib import Path
        def stop(number, frame):
            with open({order!r}, "a") as out:
                out.write({name!r} + "\\n")
            sys.exit(0)
        signal.signal(signal.SIGTERM, stop)
        Path({ready!r}).touch()
        time.sleep(600)
        """
    )
    for name in ("first", "second", "third"):
        ready = tmp_path / name
        text = program.format(order=str(order), name=name, ready=str(ready))
        supervisor.start(Child(name, (sys.executable, "-c", text)))
        wait_until(ready.exists)
    supervisor.stop_all()
    assert order.read_text().split() == ["third", "second", "first"]


@pytest.mark.parametrize("session", [False, True], ids=["same group", "own session"])
def test_what_a_child_has_started_stops_with_it(
    supervisor: Supervisor, python_child: MakeChild, wait_until: Wait, session: bool
) -> None:
    supervisor.start(python_child("parent", PARENT.format(session=session)))
    log = supervisor.log("parent")
    wait_until(lambda: log.read_text().endswith("\n"))
    grandchild = int(log.read_text())
    assert lives(grandchild)
    supervisor.stop_all()
    assert not lives(grandchild)


def test_what_a_killed_child_has_started_does_not_outlive_it(
    supervisor: Supervisor, python_child: MakeChild, wait_until: Wait
) -> None:
    pid = supervisor.start(python_child("parent", PARENT.format(session=False)))
    log = supervisor.log("parent")
    wait_until(lambda: log.read_text().endswith("\n"))
    grandchild = int(log.read_text())
    os.kill(pid, signal.SIGKILL)

    def gone() -> bool:
        supervisor.watch()
        return not lives(grandchild)

    wait_until(gone)


def test_a_child_that_ignores_the_signal_is_killed(
    supervisor: Supervisor, python_child: MakeChild, wait_until: Wait
) -> None:
    pid = supervisor.start(python_child("stubborn", STUBBORN, stop=StopManner(grace_s=0.2)))
    wait_until(lambda: "up" in supervisor.log("stubborn").read_text())
    supervisor.stop_all()
    assert not lives(pid)


def test_the_orphans_of_a_killed_runner_are_ended_by_the_next_one(home: Home, wait_until: Wait) -> None:
    runner = subprocess.Popen(
        [
            sys.executable,
            "-c",
            textwrap.dedent(
                """
                import sys, time
                from pathlib import Path
                from peebot_local.home import Home
                from peebot_local.interruption import StopSignals
                from peebot_local.supervisor import Child, Supervisor
                supervisor = Supervisor(Home(Path(sys.argv[1])), StopSignals())
                for name in ("one", "two"):
                    print(supervisor.start(Child(name, (sys.executable, "-c", sys.argv[2]))), flush=True)
                time.sleep(600)
                """
            ),
            str(home.path),
            PARENT.format(session=False),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert runner.stdout is not None
    children = [int(runner.stdout.readline()) for _ in range(2)]
    logs = [home.logs / "one.log", home.logs / "two.log"]
    wait_until(lambda: all(log.exists() and log.read_text().endswith("\n") for log in logs))
    grandchildren = [int(log.read_text()) for log in logs]
    runner.kill()
    runner.wait()
    # One leader is gone too: its group is recognised by the mark in the environment.
    os.kill(children[1], signal.SIGKILL)
    wait_until(lambda: not lives(children[1]))
    assert all(lives(pid) for pid in [children[0], *grandchildren])

    assert Supervisor(home, StopSignals()).end_orphans() == 3
    assert not any(lives(pid) for pid in [*children, *grandchildren])
    assert Supervisor(home, StopSignals()).end_orphans() == 0


def test_a_stranger_who_has_the_number_of_an_old_child_is_left_alone(home: Home) -> None:
    stranger = subprocess.Popen([sys.executable, "-c", SLEEP], start_new_session=True)
    try:
        started = psutil.Process(stranger.pid).create_time() - 100
        identity = {"pid": stranger.pid, "started_at": started}
        home.children.write_text(json.dumps([{"name": "old", "identity": identity, "stop": {}}]))
        assert Supervisor(home, StopSignals()).end_orphans() == 0
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_signal_during_a_start_leaves_no_forgotten_child(home: Home, python_child: MakeChild) -> None:
    signals = StopSignals()
    supervisor = Supervisor(home, signals)
    started: list[int] = []

    def start_while_a_signal_comes() -> None:
        with signals.deferred():
            os.kill(os.getpid(), signal.SIGTERM)
            started.append(supervisor.start(python_child("sleeper", SLEEP)))

    with signals.active():
        with pytest.raises(StopRequested):
            start_while_a_signal_comes()
        os.kill(os.getpid(), signal.SIGINT)  # ignored: it is stopping already
        assert lives(started[0])
        supervisor.stop_all()
    assert not lives(started[0])


def test_a_program_that_cannot_be_started_is_one_line(supervisor: Supervisor) -> None:
    with pytest.raises(MendableError, match=r"ghost cannot be started .*No such file"):
        supervisor.start(Child("ghost", ("/nowhere/ghost",)))


def test_a_disk_on_which_nothing_can_be_written_keeps_no_child_alive(
    home: Home, python_child: MakeChild
) -> None:
    supervisor = Supervisor(home, StopSignals())
    pids = [supervisor.start(python_child(name, SLEEP)) for name in ("one", "two")]
    home.children.unlink()
    home.children.mkdir()  # stands for a disk that takes nothing
    with pytest.raises(OSError, match=r"children\.json"):
        supervisor.stop_all()
    assert not any(lives(pid) for pid in pids)
