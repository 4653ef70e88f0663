"""Where a text goes: the interface of a platform, the dry run, and the choice between them."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Message:
    """A text to publish. `key` names what it is about: a platform that knows such keys takes each once."""

    text: str
    key: str


@dataclass(frozen=True)
class PublishResult:
    """A text that was taken. `external_id` is its id on the platform, None when nothing was sent."""

    external_id: str | None
    link: str | None = None


class PublishRefused(Exception):  # noqa: N818 - an outcome of the platform, not a fault of ours
    """The text is certainly not public. `reason` is a short code, `detail` what the platform said.

    `resume_at` (UTC) is until when it will take no more, if it said so.
    """

    def __init__(self, reason: str, detail: str = "", resume_at: datetime | None = None) -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.resume_at = resume_at


class PublishUncertain(Exception):  # noqa: N818 - an outcome of the platform, not a fault of ours
    """The text may be public or not, so it must never be sent again. `reason` is a short code."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason


class PlatformError(ValueError):
    """The environment does not say clearly where posts go; the message names the variable to change."""


class Publisher(Protocol):
    """A platform that takes texts."""

    @property
    def platform(self) -> str:
        """Name in the ledger."""
        ...

    def publish(self, message: Message) -> PublishResult:
        """Publish once. Raises PublishRefused or PublishUncertain; never tries again by itself."""
        ...


@dataclass(frozen=True)
class DryRun:
    """Sends nothing: the ledger shows what would have been posted."""

    platform: str = "dry_run"

    def publish(self, message: Message) -> PublishResult:
        return PublishResult(external_id=None)


@dataclass(frozen=True)
class Platform:
    """A platform that can be posted on: which variable holds which credential, and how to get its publisher.

    `load` is called with the credentials; it imports the platform's library, which is slow or missing.
    """

    title: str
    variables: Mapping[str, str]
    load: Callable[[Mapping[str, str]], Publisher]

    def missing(self, environment: Mapping[str, str]) -> list[str]:
        """The variables that are not set."""
        return [name for name in self.variables.values() if not environment.get(name, "").strip()]

    def publisher(self, environment: Mapping[str, str]) -> Publisher:
        """The publisher with the credentials of the environment, none of which is missing."""
        return self.load({field: environment[name].strip() for field, name in self.variables.items()})


def _x(credentials: Mapping[str, str]) -> Publisher:
    from peebot_dagster.posts.x_publisher import XCredentials, XPublisher

    return XPublisher(XCredentials.model_validate(credentials))


PLATFORMS: Mapping[str, Platform] = {
    "x": Platform(
        "X",
        {
            "consumer_key": "PEEBOT_X_CONSUMER_KEY",
            "consumer_secret": "PEEBOT_X_CONSUMER_SECRET",
            "access_token": "PEEBOT_X_ACCESS_TOKEN",
            "access_token_secret": "PEEBOT_X_ACCESS_TOKEN_SECRET",
        },
        _x,
    ),
}
"""The platforms by their name in the ledger."""

DRY_RUN = "dry_run"


def platforms_from_environment(environment: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """Where posts go, known without loading any library: names of PLATFORMS, or only the dry run.

    PEEBOT_POSTS is `dry_run`, or a list of platforms, as in `x,mastodon`; or it is not set: then all those
    whose credentials are complete, and a dry run when there are none. PlatformError for anything else: who
    writes `off` does not want to tweet.
    """
    wanted = environment.get("PEEBOT_POSTS", "").strip()
    if wanted == DRY_RUN:
        return (DRY_RUN,)
    if not wanted:
        complete = [name for name, platform in PLATFORMS.items() if not platform.missing(environment)]
        return tuple(complete) or (DRY_RUN,)
    names = tuple(dict.fromkeys(name.strip() for name in wanted.split(",")))
    for name in names:
        if name not in PLATFORMS:
            raise PlatformError(
                f"PEEBOT_POSTS is {wanted!r}; it may be dry_run, or one or more of {','.join(PLATFORMS)}, "
                "or not set"
            )
        if missing := PLATFORMS[name].missing(environment):
            raise PlatformError(f"PEEBOT_POSTS names {name}, but {', '.join(missing)} not set")
    return names


def publishers_from_environment(environment: Mapping[str, str] = os.environ) -> tuple[Publisher, ...]:
    """The publishers of platforms_from_environment, which says when there is none."""
    names = platforms_from_environment(environment)
    if not environment.get("PEEBOT_POSTS", "").strip():
        for platform in PLATFORMS.values():
            missing = platform.missing(environment)
            if 0 < len(missing) < len(platform.variables):
                log.warning("Nothing is posted on %s: %s not set", platform.title, ", ".join(missing))
    return tuple(DryRun() if name == DRY_RUN else PLATFORMS[name].publisher(environment) for name in names)
