from __future__ import annotations

from pathlib import Path

import pytest

from peebot_local.errors import MendableError
from peebot_local.settings import NASA_FEED, Settings


def test_without_any_variable_it_listens_to_nasa_and_keeps_its_state_in_the_users_data_folder() -> None:
    settings = Settings.from_environment({})
    assert settings.feed_url == NASA_FEED
    assert settings.home.is_absolute()
    assert settings.home.name == "peebot"
    assert settings.database_url is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PEEBOT_UI_PORT", "http"),
        ("PEEBOT_UI_PORT", "65536"),
        ("PEEBOT_CODE_SERVER_PORT", "0"),
        ("PEEBOT_FEED_URL", "push.lightstreamer.com"),
        ("PEEBOT_DATABASE_URL", "mysql://somewhere/else"),
        ("PEEBOT_DATABASE_URL", "postgresql://somewhere"),
    ],
)
def test_a_variable_that_makes_no_sense_is_named_in_one_line(name: str, value: str) -> None:
    with pytest.raises(MendableError, match=f"^{name} is not usable .*; correct or unset it$"):
        Settings.from_environment({name: value})


def test_the_password_of_the_database_is_in_no_repr() -> None:
    settings = Settings.from_environment({"PEEBOT_DATABASE_URL": "postgresql://me:hush@db.example/peebot"})
    assert "hush" not in repr(settings)
    assert "hush" not in str(settings)


def test_the_demo_never_touches_the_database_of_the_live_feed() -> None:
    environment = {"PEEBOT_DATABASE_URL": "postgresql://me:hush@db.example/peebot", "PEEBOT_HOME": "/data"}
    demo = Settings.from_environment(environment).for_demo()
    assert demo.database_url is None
    assert demo.home == Path("/data/demo")
