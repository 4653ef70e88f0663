from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from peebot_local.errors import MendableError
from peebot_local.home import Home
from peebot_local.runner import Running
from peebot_local.settings import NASA_FEED, Settings
from peebot_local.supervisor import Child
from peebot_local.up import is_local, up_plan
from peebot_local.warm_workers import WORKERS


def posts(feed_url: str) -> str | None:
    plan = up_plan(Settings(home=Path("/nowhere"), feed_url=feed_url), Home(Path("/nowhere")))
    return plan.environment.get("PEEBOT_POSTS")


@pytest.mark.parametrize("given", [None, "", "dry_run", "yes"])
def test_what_this_machine_plays_is_never_really_posted(
    given: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PEEBOT_POSTS", raising=False)
    if given is not None:
        monkeypatch.setenv("PEEBOT_POSTS", given)
    assert posts("http://127.0.0.1:8080") == "dry_run"
    assert posts(NASA_FEED) is None


@pytest.mark.parametrize("named", ["x", " x "])
def test_who_names_a_platform_gets_it_from_a_local_feed_too(
    named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PEEBOT_POSTS", named)
    assert posts("http://127.0.0.1:8080") is None


def test_with_celery_it_has_the_workers_that_the_environment_names_and_else_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings, home = Settings(home=Path("/nowhere")), Home(Path("/nowhere"))
    monkeypatch.delenv(WORKERS, raising=False)
    assert up_plan(settings, home, celery=True).workers == 2
    monkeypatch.setenv(WORKERS, "5")
    assert up_plan(settings, home, celery=True).workers == 5
    assert up_plan(settings, home).workers is None
    monkeypatch.setenv(WORKERS, "many")
    with pytest.raises(MendableError, match="PEEBOT_CELERY_WORKERS is not usable"):
        up_plan(settings, home, celery=True)


@pytest.mark.parametrize(
    ("feed_url", "source"), [("http://127.0.0.1:8080", "simulator"), (NASA_FEED, "isslive")]
)
def test_what_this_machine_plays_is_stored_as_such_so_that_no_later_run_takes_it_for_news(
    feed_url: str, source: str
) -> None:
    started: list[Child] = []

    class Supervising:
        def start(self, child: Child) -> None:
            started.append(child)

    home = Home(Path("/nowhere"))
    plan = up_plan(Settings(home=home.path, feed_url=feed_url), home)
    given: Any = Supervising()
    steps: Any = None
    plan.feed(Running(home, given, steps, "postgresql://", "http://ui", 9473, 3001))
    [daemon] = started
    assert daemon.command[daemon.command.index("--source") + 1] == source
    assert daemon.environment is not None
    assert daemon.environment["PEEBOT_SPOOL"] == str(home.spool(source))


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:1",
        "http://LOCALHOST.:1/",
        "https://feed.localhost",
        "http://127.8.0.1",
        "http://127.1:99",
        "http://2130706433",
        "http://[::1]:8080",
        "http://[::ffff:127.0.0.1]:8080",
        "http://user@0.0.0.0:1",
    ],
)
def test_this_machine_is_known_by_all_its_names(url: str) -> None:
    assert is_local(url)


@pytest.mark.parametrize(
    "url", [NASA_FEED, "http://192.168.1.1", "http://[2001:db8::1]", "http://localhost.example"]
)
def test_other_machines_are_not_this_one(url: str) -> None:
    assert not is_local(url)
