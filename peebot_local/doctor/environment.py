"""Findings about the environment: whether its settings are usable, known and complete."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from urllib.parse import urlsplit

from ingest_daemon.settings import Settings as IngestSettings
from ingest_daemon.settings import SettingsError
from peebot_dagster.posts.policy import SETTINGS as POLICY
from peebot_dagster.posts.policy import PolicyError, PostPolicy
from peebot_dagster.posts.publishers import DRY_RUN, PLATFORMS, PlatformError, destinations
from peebot_local.doctor.finding import Finding, fail, ok, warn
from peebot_local.errors import MendableError
from peebot_local.partitions import VARIABLE as PARTITIONS_START
from peebot_local.partitions import first_partition
from peebot_local.secret_files import SECRETS
from peebot_local.settings import ENVIRONMENT, Settings

_OTHERS = (
    *(
        "PEEBOT_CODE_SERVER_HOST",
        "PEEBOT_FEED",
        "PEEBOT_CHANNELS",
        "PEEBOT_INSTANCE",
        "PEEBOT_SPOOL",
        "PEEBOT_SPOOL_LIMIT_MB",
    ),
    *("PEEBOT_LOG_FORMAT", "PEEBOT_METRICS_HOST", "PEEBOT_ALERT_METRICS"),
    *("PEEBOT_POSTS", "PEEBOT_CANDIDATES", "PEEBOT_CELERY_WORKERS"),
    *("PEEBOT_URINE_LEVEL_ITEM", "PEEBOT_URINE_STATE_ITEM"),
    *("PEEBOT_RUNNER_HOME", "PEEBOT_MIGRATE_URL"),
)
_OF_TESTS_AND_COMPOSE = re.compile(
    "PEEBOT_(TEST_[A-Z_]+|REQUIRE_[A-Z_]+|RECORDINGS|SCREENSHOTS"
    "|HOST|UI_HOST|PRIVATE_HOST|USER|PASSWORD_HASH|WEBSERVER|PUBLIC_WEBSERVER|LIVE|[A-Z]+_HEALTH_PORT"
    "|HTTPS?_PORT|PUBLISH_HTTPS?)"
)
_NAME = re.compile("PEEBOT_[A-Z0-9_]+")


def known_variables() -> frozenset[str]:
    """Every variable with which somebody sets something."""
    platforms = [
        name
        for platform in PLATFORMS.values()
        for name in (*platform.variables.values(), *platform.optional.values())
    ]
    files = [f"{name}_FILE" for name in SECRETS]
    return frozenset(
        {*ENVIRONMENT.values(), *SECRETS, *files, *POLICY.values(), *platforms, PARTITIONS_START, *_OTHERS}
    )


def examine_environment(environment: Mapping[str, str]) -> list[Finding]:
    """Whether what these variables set can be used, and whether each is known."""
    return [*_settings(environment), *_unknown(environment), *_posting(environment), _feed(environment)]


def _settings(environment: Mapping[str, str]) -> list[Finding]:
    problems = [
        problem
        for read in (
            lambda: Settings.from_environment(environment),
            lambda: IngestSettings.read((), {"PEEBOT_DATABASE_URL": "dbname=any", **_given(environment)}),
            lambda: PostPolicy.from_environment(environment),
            lambda: (
                first_partition({PARTITIONS_START: environment[PARTITIONS_START]})
                if environment.get(PARTITIONS_START)
                else None
            ),
        )
        if (problem := _problem(read)) is not None
    ]
    if problems:
        return [fail("settings", problem, "correct or unset it, and start again") for problem in problems]
    return [ok("settings", f"{len(_given(environment))} PEEBOT_ variables are set, all usable")]


def _given(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith("PEEBOT_") and value}


def _problem(read: Callable[[], object]) -> str | None:
    try:
        read()
    except (MendableError, SettingsError, PolicyError) as error:
        return str(error).removesuffix("; correct or unset it")
    return None


def _unknown(environment: Mapping[str, str]) -> list[Finding]:
    known = known_variables()
    unknown = [
        name
        for name in sorted(_given(environment))
        if _NAME.fullmatch(name) and name not in known and not _OF_TESTS_AND_COMPOSE.fullmatch(name)
    ]
    if not unknown:
        return [ok("known_settings", "no unknown PEEBOT_ variable is set")]
    return [_misspelt(name, get_close_matches(name, known, n=1, cutoff=0.75)) for name in unknown]


def _misspelt(name: str, near: list[str]) -> Finding:
    meant = f"did you mean {near[0]}? Else unset it" if near else "unset it; README.md lists all there are"
    return warn("known_settings", f"{name} is set, and nothing reads it", meant)


def _posting(environment: Mapping[str, str]) -> list[Finding]:
    findings = [
        warn(
            "credentials",
            f"the credentials of {platform.title} are not complete: {', '.join(missing)} not set",
            "set all of them, or none; until then nothing is posted there",
        )
        for platform in PLATFORMS.values()
        if 0 < len(missing := platform.missing(environment)) < len(platform.variables)
        # A server's address alone is no attempt to log in, and who names a platform is told below.
        and any(name in SECRETS and environment.get(name) for name in platform.variables.values())
    ]
    try:
        found = destinations(environment)
    except PlatformError as error:
        return [*findings, fail("posts", str(error), "correct PEEBOT_POSTS or the credentials it needs")]
    findings += [
        warn("posts", fault, "mend that; the other platforms are posted on") for fault in found.faults
    ]
    if found.platforms == (DRY_RUN,):
        return [*findings, ok("posts", "by this environment posts are a dry run, and nothing is sent")]
    return [*findings, ok("posts", f"by this environment posts go to {', '.join(found.platforms)}")]


def _feed(environment: Mapping[str, str]) -> Finding:
    url = environment.get("PEEBOT_FEED_URL") or ""
    host = urlsplit(url).hostname or ""
    if url.startswith("http://") and host not in ("localhost", "127.0.0.1", "::1"):
        return warn(
            "feed_url",
            f"the feed of {host} is read without TLS",
            "write https:// in PEEBOT_FEED_URL if it can",
        )
    return ok("feed_url", f"the feed is that of {host or 'NASA'}")
