from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ingest_daemon.settings import Settings, SettingsError

URL = "postgresql://peebot:s3cret@127.0.0.1:5432/peebot"


def read(*arguments: str, url: str = URL) -> Settings:
    return Settings.read(arguments, {"PEEBOT_DATABASE_URL": url})


def test_without_arguments_the_daemon_listens_to_nasa() -> None:
    settings = read()
    assert (settings.server, settings.adapter_set) == ("https://push.lightstreamer.com", "ISSLIVE")
    assert (settings.source, settings.clock, settings.as_of) == ("isslive", "system", None)


def test_a_date_without_a_zone_is_utc() -> None:
    assert read("--clock", "feed", "--as-of", "2025-02-01").as_of == datetime(2025, 2, 1, tzinfo=UTC)


def test_the_password_is_not_in_the_repr() -> None:
    assert "s3cret" not in repr(read())


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        read().server = "http://other"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("arguments", "url", "says"),
    [
        ((), "", "PEEBOT_DATABASE_URL is not set"),
        ((), "postgresql://peebot:s3cret@[::1", "no valid PostgreSQL URL"),
        (("--server", "push.lightstreamer.com"), URL, "http://"),
        (("--clock", "feed"), URL, "--as-of"),
        (("--as-of", "2025-02-01"), URL, "--clock feed"),
        (("--queue-capacity", "0"), URL, "--queue-capacity"),
        (("--spool-limit-mb", "0"), URL, "--spool-limit-mb"),
        (("--metrics-host", "0.0.0.0"), URL, "/metrics asks for no login"),  # noqa: S104
        (("--metrics-host", "::"), URL, "/metrics asks for no login"),
        (("--metrics-host", "peebot.example"), URL, "--exposed"),
    ],
)
def test_a_wrong_setting_is_named_and_no_secret_told(arguments: tuple[str, ...], url: str, says: str) -> None:
    with pytest.raises(SettingsError) as failure:
        read(*arguments, url=url)
    assert says in str(failure.value)
    assert "s3cret" not in str(failure.value)
    assert failure.value.__cause__ is None


def test_the_metrics_are_on_loopback_unless_somebody_vouches_for_another_host() -> None:
    environment = {"PEEBOT_DATABASE_URL": URL, "PEEBOT_METRICS_HOST": "10.0.0.7"}
    assert read().metrics_host == "127.0.0.1"
    assert read("--metrics-host", "::1").metrics_host == "::1"
    with pytest.raises(SettingsError, match=r"10\.0\.0\.7 can be reached from elsewhere"):
        Settings.read((), environment)
    assert Settings.read(("--exposed",), environment).metrics_host == "10.0.0.7"


def test_the_feed_is_the_official_client_unless_argument_or_environment_say_otherwise() -> None:
    environment = {"PEEBOT_DATABASE_URL": URL, "PEEBOT_FEED": "tlcp"}
    assert read().feed == "official"
    assert read("--feed", "tlcp").feed == "tlcp"
    assert Settings.read([], environment).feed == "tlcp"
    assert Settings.read(["--feed", "official"], environment).feed == "official"
    with pytest.raises(SettingsError, match="PEEBOT_FEED"):
        Settings.read([], environment | {"PEEBOT_FEED": "fast"})


def test_the_spool_is_where_argument_or_environment_say_and_nowhere_without() -> None:
    environment = {"PEEBOT_DATABASE_URL": URL, "PEEBOT_SPOOL": "/var/lib/peebot/spool"}
    assert (read().spool, read().spool_limit_mb) == (None, 512)
    assert Settings.read([], environment).spool == Path("/var/lib/peebot/spool")
    assert Settings.read(["--spool", "here"], environment).spool == Path("here")


def test_the_limit_of_the_spool_is_that_of_argument_or_environment() -> None:
    environment = {"PEEBOT_DATABASE_URL": URL, "PEEBOT_SPOOL_LIMIT_MB": "4096"}
    assert Settings.read([], environment).spool_limit_mb == 4096
    assert Settings.read(["--spool-limit-mb", "7"], environment).spool_limit_mb == 7
    # As compose.yaml gives it when nobody has set it.
    assert Settings.read([], environment | {"PEEBOT_SPOOL_LIMIT_MB": ""}).spool_limit_mb == 512
    for wrong in ("0", "-1", "4G"):
        with pytest.raises(SettingsError, match="PEEBOT_SPOOL_LIMIT_MB"):
            Settings.read([], environment | {"PEEBOT_SPOOL_LIMIT_MB": wrong})
