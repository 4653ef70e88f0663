"""What the doctor says of the environment."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from peebot_local.doctor.environment import _OF_TESTS_AND_COMPOSE, examine_environment, known_variables
from peebot_local.doctor.finding import Finding

ROOT = Path(__file__).parents[3]
X = ("CONSUMER_KEY", "CONSUMER_SECRET", "ACCESS_TOKEN", "ACCESS_TOKEN_SECRET")


def found(check: str, **variables: str) -> list[Finding]:
    return [finding for finding in examine_environment(variables) if finding.check == check]


def test_an_empty_environment_has_nothing_to_mend() -> None:
    assert {finding.level for finding in examine_environment({})} == {"ok"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PEEBOT_UI_PORT", "x"),
        ("PEEBOT_DATABASE_URL", "postgresql://h"),
        ("PEEBOT_FEED", "radio"),
        ("PEEBOT_METRICS_PORT", "70000"),
        ("PEEBOT_LOG_FORMAT", "xml"),
        ("PEEBOT_POST_COOLDOWN_MINUTES", "soon"),
        ("PEEBOT_POST_QUIET_HOURS", "at night"),
        ("PEEBOT_PARTITIONS_START", "2024"),
    ],
)
def test_a_setting_that_cannot_be_used_fails_by_its_name(name: str, value: str) -> None:
    findings = found("settings", **{name: value})
    assert findings[0].level == "fail"
    assert name.removeprefix("PEEBOT_").split("_")[0].lower() in findings[0].text.lower()


def test_a_misspelt_setting_is_told_with_what_was_meant() -> None:
    (finding,) = found("known_settings", PEEBOT_POST_COOLDOWN_MINUTE="30")
    assert finding.level == "warn"
    assert "PEEBOT_POST_COOLDOWN_MINUTES" in finding.advice


def test_a_part_of_xs_keys_is_told_by_name_and_all_four_or_none_are_fine() -> None:
    for count in range(5):
        keys = {f"PEEBOT_X_{name}": f"hidden-{name}" for name in X[:count]}
        findings = found("credentials", **keys)
        assert bool(findings) == (0 < count < 4)
        assert not findings or f"PEEBOT_X_{X[count]}" in findings[0].text
        assert "hidden" not in str(examine_environment(keys))


def test_where_posts_go_is_told_and_a_platform_without_credentials_fails() -> None:
    assert "dry run" in found("posts")[0].text
    assert "x" in found("posts", **{f"PEEBOT_X_{name}": "k" for name in X})[0].text
    (finding,) = found("posts", PEEBOT_POSTS="mastodon")
    assert finding.level == "fail"
    assert "PEEBOT_MASTODON_ACCESS_TOKEN" in finding.text


def test_a_feed_elsewhere_without_tls_is_told() -> None:
    assert found("feed_url", PEEBOT_FEED_URL="http://push.example.org")[0].level == "warn"
    assert found("feed_url", PEEBOT_FEED_URL="http://127.0.0.1:8080")[0].level == "ok"


def test_every_variable_that_the_code_names_is_known() -> None:
    folders = ("peebot_local", "peebot_dagster", "peebot_live", "ingest_daemon", "deploy/compose")
    files = [
        file
        for folder in folders
        for file in (ROOT / folder).rglob("*")
        if file.is_file() and file.suffix != ".pyc"
    ]
    named = {
        name
        for file in (*files, ROOT / "README.md")
        for name in re.findall(r"\bPEEBOT_[A-Z][A-Z0-9_]*[A-Z0-9]\b", file.read_text(encoding="utf-8"))
    }
    known = known_variables()
    prefixes = {"PEEBOT_X", "PEEBOT_BLUESKY", "PEEBOT_MASTODON"}
    unknown = {name for name in named - known - prefixes if not _OF_TESTS_AND_COMPOSE.fullmatch(name)}
    assert unknown == set()
