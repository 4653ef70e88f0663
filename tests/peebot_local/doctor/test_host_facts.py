"""What the doctor gathers of this machine."""

from __future__ import annotations

from importlib.metadata import version

from peebot_local.doctor.host_facts import _LOCK, _PINNED, _differing

LOCK = _LOCK.read_text(encoding="utf-8")


def test_each_package_that_the_lock_pins_everywhere_is_compared() -> None:
    pinned = [line for line in LOCK.splitlines() if "==" in line and line[0] not in " #"]
    everywhere = [line for line in pinned if ";" not in line]
    assert len(everywhere) > 100
    assert [f"{name}=={wanted} \\" for name, wanted in _PINNED.findall(LOCK)] == everywhere


def test_a_package_of_another_version_than_the_locks_is_told() -> None:
    here = version("dagster")
    other = LOCK.replace(f"\ndagster=={here} ", "\ndagster==0.0.1 ")
    assert other != LOCK
    assert dict(_differing(other))["dagster"] == here
    assert "dagster" not in dict(_differing(LOCK))
