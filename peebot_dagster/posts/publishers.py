"""Where a text goes: the interface of a platform, the dry run, and the choice between them."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from pydantic import BaseModel, ConfigDict, SecretStr

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PublishResult:
    """A text that was taken. `external_id` is its id on the platform, None when nothing was sent."""

    external_id: str | None
    link: str | None = None


class PublishRefused(Exception):  # noqa: N818 - an outcome of the platform, not a fault of ours
    """The text is certainly not public. `reason` is a short code, `detail` what the platform said."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason


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

    def publish(self, text: str) -> PublishResult:
        """Publish once. Raises PublishRefused or PublishUncertain; never tries again by itself."""
        ...


@dataclass(frozen=True)
class DryRun:
    """Sends nothing: the ledger shows what would have been posted."""

    platform: str = "dry_run"

    def publish(self, text: str) -> PublishResult:
        return PublishResult(external_id=None)


class XCredentials(BaseModel):
    """OAuth 1.0a user context of the account that posts; the values never show in a repr or a log."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    consumer_key: SecretStr
    consumer_secret: SecretStr
    access_token: SecretStr
    access_token_secret: SecretStr


X_VARIABLES = {
    "consumer_key": "PEEBOT_X_CONSUMER_KEY",
    "consumer_secret": "PEEBOT_X_CONSUMER_SECRET",
    "access_token": "PEEBOT_X_ACCESS_TOKEN",
    "access_token_secret": "PEEBOT_X_ACCESS_TOKEN_SECRET",
}
"""Which environment variable holds which credential for X."""


def platform_from_environment(environment: Mapping[str, str] = os.environ) -> Literal["x", "dry_run"]:
    """The platform of publisher_from_environment, known without loading its library.

    PEEBOT_POSTS is `x`, `dry_run`, or not set: then x once all four credentials are set, until then a dry
    run. PlatformError for anything else: who writes `off` does not want to tweet.
    """
    wanted, missing = environment.get("PEEBOT_POSTS", "").strip(), _missing(environment)
    if wanted == "dry_run":
        return "dry_run"
    if wanted not in ("", "x"):
        raise PlatformError(f"PEEBOT_POSTS is {wanted!r}; it may be x or dry_run, or not set")
    if wanted and missing:
        raise PlatformError(f"PEEBOT_POSTS is x, but {', '.join(missing)} not set")
    return "dry_run" if missing else "x"


def publisher_from_environment(environment: Mapping[str, str] = os.environ) -> Publisher:
    """The publisher of platform_from_environment, which says when there is none."""
    if platform_from_environment(environment) == "dry_run":
        missing = _missing(environment)
        if not environment.get("PEEBOT_POSTS", "").strip() and 0 < len(missing) < len(X_VARIABLES):
            log.warning("Posts are a dry run: %s not set", ", ".join(missing))
        return DryRun()
    # Imported here: most processes only want to know the policy, and tweepy is slow to load.
    from peebot_dagster.posts.x_publisher import XPublisher

    credentials = {field: environment[name].strip() for field, name in X_VARIABLES.items()}
    return XPublisher(XCredentials.model_validate(credentials))


def _missing(environment: Mapping[str, str]) -> list[str]:
    return [name for name in X_VARIABLES.values() if not environment.get(name, "").strip()]
