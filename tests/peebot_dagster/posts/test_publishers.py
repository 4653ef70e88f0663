from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable

import pytest

from peebot_dagster.posts.outcomes import Message, Publisher, PublishRefused, PublishResult
from peebot_dagster.posts.publishers import (
    PLATFORMS,
    Destinations,
    DryRun,
    LatePublisher,
    PlatformError,
    destinations,
    platforms_from_environment,
    publishers_from_environment,
)
from peebot_dagster.posts.x_publisher import XCredentials

X_VARIABLES = PLATFORMS["x"].variables


def test_a_dry_run_takes_any_text_and_sends_nothing(message: Callable[..., Message]) -> None:
    assert DryRun().publish(message("Houston")) == PublishResult(external_id=None)
    assert DryRun().platform == "dry_run"


def test_posts_go_to_x_once_all_four_credentials_are_set(credentials: dict[str, str]) -> None:
    environment = {X_VARIABLES[field]: f" {value} " for field, value in credentials.items()}
    assert [p.platform for p in publishers_from_environment(environment)] == ["x"]
    assert platforms_from_environment(environment) == ("x",)


@pytest.mark.parametrize("missing", [*X_VARIABLES.values()])
@pytest.mark.parametrize("blank", [False, True])
def test_posts_are_a_dry_run_while_a_credential_is_missing_and_the_log_names_it(
    missing: str, blank: bool, credentials: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    environment = {X_VARIABLES[field]: value for field, value in credentials.items()}
    environment[missing] = " "
    if not blank:
        del environment[missing]
    assert publishers_from_environment(environment) == (DryRun(),)
    assert platforms_from_environment(environment) == ("dry_run",)
    assert missing in caplog.text
    assert not any(value in caplog.text for value in credentials.values())


def test_without_any_credential_a_dry_run_is_nothing_to_warn_about(caplog: pytest.LogCaptureFixture) -> None:
    assert publishers_from_environment({}) == (DryRun(),)
    assert caplog.text == ""


def test_a_dry_run_can_be_demanded_in_spite_of_credentials(credentials: dict[str, str]) -> None:
    environment = {X_VARIABLES[field]: value for field, value in credentials.items()}
    assert publishers_from_environment({**environment, "PEEBOT_POSTS": "dry_run"}) == (DryRun(),)


@pytest.mark.parametrize(
    "wanted", ["dry-run", "off", "false", "DRY_RUN", "X", "twitter", "x,off", "x,dry_run", "x,"]
)
def test_what_is_neither_x_nor_dry_run_posts_nothing_and_is_named(
    wanted: str, credentials: dict[str, str]
) -> None:
    environment = {X_VARIABLES[field]: value for field, value in credentials.items()}
    for ask in (publishers_from_environment, platforms_from_environment):
        with pytest.raises(PlatformError, match=f"PEEBOT_POSTS is '{wanted}'; it may be dry_run, or"):
            ask({**environment, "PEEBOT_POSTS": wanted})


def test_who_demands_x_is_told_which_credential_is_missing(credentials: dict[str, str]) -> None:
    environment = {X_VARIABLES[field]: value for field, value in credentials.items()}
    environment["PEEBOT_POSTS"] = "x"
    assert [p.platform for p in publishers_from_environment(environment)] == ["x"]
    del environment["PEEBOT_X_ACCESS_TOKEN"]
    with pytest.raises(PlatformError, match="PEEBOT_X_ACCESS_TOKEN not set"):
        publishers_from_environment(environment)


OTHERS = {
    "PEEBOT_BLUESKY_HANDLE": "peebot.example.com",
    "PEEBOT_BLUESKY_APP_PASSWORD": "abcd-efgh",
    "PEEBOT_MASTODON_URL": "https://mastodon.example",
    "PEEBOT_MASTODON_ACCESS_TOKEN": "token-1234",
}


def test_posts_go_to_every_platform_whose_credentials_are_complete(credentials: dict[str, str]) -> None:
    x = {X_VARIABLES[field]: value for field, value in credentials.items()}
    assert platforms_from_environment(OTHERS) == ("bluesky", "mastodon")
    assert platforms_from_environment({**OTHERS, **x}) == ("x", "bluesky", "mastodon")
    publishers = publishers_from_environment({**OTHERS, **x})
    assert [publisher.platform for publisher in publishers] == ["x", "bluesky", "mastodon"]
    assert not any(secret in repr(publishers) for secret in (*OTHERS.values(), *credentials.values()))


def test_a_list_of_platforms_is_taken_in_its_order_and_each_once(credentials: dict[str, str]) -> None:
    x = {X_VARIABLES[field]: value for field, value in credentials.items()}
    environment = {**OTHERS, **x, "PEEBOT_POSTS": "mastodon, x, mastodon"}
    assert platforms_from_environment(environment) == ("mastodon", "x")


def only(prefix: str) -> dict[str, str]:
    return {name: value for name, value in OTHERS.items() if name.startswith(prefix)}


@pytest.mark.parametrize("url", ["http://mastodon.example", "mastodon.example", "ftp://x", "http://10.0.0.1"])
@pytest.mark.parametrize(
    ("name", "other"),
    [("PEEBOT_MASTODON_URL", "bluesky"), ("PEEBOT_BLUESKY_SERVICE", "mastodon")],
)
def test_a_credential_is_never_sent_without_tls_beyond_this_machine_and_the_other_platform_goes_on(
    url: str, name: str, other: str
) -> None:
    fault = f"{name} must begin with https://"
    for ask in (publishers_from_environment, platforms_from_environment):
        with pytest.raises(PlatformError, match=f"^{fault}$"):
            ask({**only(name.rpartition("_")[0]), name: url})
    for posts in ("", "bluesky,mastodon"):
        environment = {**OTHERS, name: url, "PEEBOT_POSTS": posts}
        assert destinations(environment) == Destinations((other,), (fault,))
        assert [publisher.platform for publisher in publishers_from_environment(environment)] == [other]


def test_a_library_that_is_not_installed_is_named_with_the_extra_that_brings_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "atproto", None)
    fault = "Bluesky needs the package atproto: install peebot[bluesky]"
    assert destinations(OTHERS) == Destinations(("mastodon",), (fault,))
    for ask in (publishers_from_environment, platforms_from_environment):
        with pytest.raises(PlatformError, match=re.escape(fault)):
            ask(only("PEEBOT_BLUESKY"))


def test_a_library_that_fails_to_load_has_certainly_published_nothing(
    message: Callable[..., Message],
) -> None:
    def broken() -> Publisher:
        raise ImportError("libfoo.so.1: token-1234")

    with pytest.raises(PublishRefused, match=r"^unavailable: ImportError$"):
        LatePublisher("mastodon", broken).publish(message())


def test_a_library_is_loaded_with_the_first_post_and_once(message: Callable[..., Message]) -> None:
    loads: list[int] = []

    def load() -> Publisher:
        loads.append(1)
        return DryRun()

    publisher = LatePublisher("x", load)
    assert loads == []
    for _ in range(2):
        publisher.publish(message())
    assert loads == [1]


def test_credentials_never_show_in_a_repr(credentials: dict[str, str]) -> None:
    model = XCredentials.model_validate(credentials)
    shown = f"{model!r} {model} {model.model_dump()} {model.model_dump_json()}"
    assert not any(value in shown for value in credentials.values())


def test_the_code_that_dagster_loads_brings_neither_tweepy_nor_pandas() -> None:
    script = (
        "import sys, peebot_dagster.posts.outbox, peebot_dagster.posts.publishers as p;"
        "p.publishers_from_environment({});"
        "print([m for m in ('tweepy', 'atproto', 'mastodon', 'requests', 'pandas', 'dagster')"
        " if m in sys.modules])"
    )
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"
