from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from dagster_celery.launcher import CeleryRunLauncher

from peebot_local.database import prepare_dagster_home
from peebot_local.errors import MendableError
from peebot_local.home import Home
from peebot_local.warm_workers import BROKER, start_broker


def settings(dagster_home: Path) -> Any:
    return yaml.safe_load((dagster_home / "dagster.yaml").read_text())


def test_the_runs_are_given_to_celery_only_when_asked_for(tmp_path: Path) -> None:
    prepare_dagster_home(tmp_path, celery=True)
    launcher = settings(tmp_path).pop("run_launcher")
    assert (launcher["module"], launcher["class"]) == (
        CeleryRunLauncher.__module__,
        CeleryRunLauncher.__name__,
    )
    with_celery = settings(tmp_path)

    prepare_dagster_home(tmp_path)

    assert "run_launcher" not in settings(tmp_path)
    assert with_celery == settings(tmp_path) | {"run_launcher": launcher}


def test_without_a_broker_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(BROKER, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    unused: Any = None

    with pytest.raises(MendableError, match="apt install redis-server"):
        start_broker(Home(tmp_path), unused)


def test_a_broker_of_the_environment_is_used_and_told_nowhere(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(BROKER, "redis://:secret@broker/0")
    unused: Any = None

    assert start_broker(Home(tmp_path), unused) == {}
