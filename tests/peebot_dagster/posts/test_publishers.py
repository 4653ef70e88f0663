from __future__ import annotations

import subprocess
import sys

import pytest

from peebot_dagster.posts.publishers import (
    PLATFORMS,
    DryRun,
    Message,
    PlatformError,
    PublishResult,
    platforms_from_environment,
    publishers_from_environment,
)
from peebot_dagster.posts.x_publisher import XCredentials

X_VARIABLES = PLATFORMS["x"].variables


def test_a_dry_run_takes_any_text_and_sends_nothing() -> None:
    assert DryRun().publish(Message("Houston", "key")) == PublishResult(external_id=None)
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


def test_credentials_never_show_in_a_repr(credentials: dict[str, str]) -> None:
    model = XCredentials.model_validate(credentials)
    shown = f"{model!r} {model} {model.model_dump()} {model.model_dump_json()}"
    assert not any(value in shown for value in credentials.values())


def test_the_code_that_dagster_loads_brings_neither_tweepy_nor_pandas() -> None:
    script = (
        "import sys, peebot_dagster.posts.outbox, peebot_dagster.posts.publishers as p;"
        "p.publishers_from_environment({});"
        "print([m for m in ('tweepy', 'requests', 'pandas', 'dagster') if m in sys.modules])"
    )
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"
