"""What the doctor gathers of this machine."""

from __future__ import annotations

import os
import shutil
from importlib.metadata import version
from pathlib import Path

from pydantic import SecretStr

from peebot_dagster.ingest_metrics import METRICS_PORT
from peebot_local.database import PROJECT
from peebot_local.doctor.host_facts import _LOCK, _PINNED, _differing, host_facts, stale_units
from peebot_local.settings import Settings

UNITS = PROJECT / "deploy" / "systemd"
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


def test_the_folders_in_a_home_are_looked_at_and_its_files_are_not(tmp_path: Path) -> None:
    (tmp_path / "ingest").mkdir(mode=0o700)
    (tmp_path / "file").touch()
    (part,) = host_facts(Settings(home=tmp_path), {}, None).parts
    assert (part.path, part.owner, part.mode) == (tmp_path / "ingest", os.geteuid(), 0o700)
    assert host_facts(Settings(home=tmp_path / "none"), {}, None).parts == []


def test_units_that_an_update_left_behind_are_seen_and_ones_own_drop_ins_are_not(tmp_path: Path) -> None:
    installed = tmp_path / "system"
    installed.mkdir()
    assert stale_units(UNITS, installed) == []
    shutil.copytree(UNITS, installed, dirs_exist_ok=True)
    (installed / "peebot@code-server.service.d" / "60-x.conf.example").unlink()
    (installed / "peebot@live.service.d" / "90-own.conf").write_text("[Service]\nMemoryMax=1G\n")
    assert stale_units(UNITS, installed) == []
    (installed / "peebot-doctor.timer").unlink()
    (installed / "peebot@.service").write_text("[Service]\n")
    assert stale_units(UNITS, installed) == ["peebot-doctor.timer", "peebot@.service"]


def test_on_a_server_the_port_of_the_metrics_is_looked_at_though_nobody_has_set_it(tmp_path: Path) -> None:
    server = Settings(home=tmp_path, database_url=SecretStr("postgresql://db/peebot"))
    assert host_facts(server, {}, None).ports["PEEBOT_METRICS_PORT"] == METRICS_PORT
    assert "PEEBOT_METRICS_PORT" not in host_facts(Settings(home=tmp_path), {}, None).ports
