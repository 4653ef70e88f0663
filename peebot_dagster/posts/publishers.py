"""Where texts go: the platforms, the dry run, and the choice between them."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from ipaddress import ip_address
from urllib.parse import urlsplit

from peebot_dagster.posts.outcomes import Message, Publisher, PublishRefused, PublishResult

log = logging.getLogger(__name__)


class PlatformError(ValueError):
    """The environment does not say clearly where posts go; the message names the variable to change."""


@dataclass(frozen=True)
class DryRun:
    """Sends nothing: the ledger shows what would have been posted."""

    platform: str = "dry_run"

    def publish(self, message: Message) -> PublishResult:
        return PublishResult(external_id=None)


@dataclass
class LatePublisher:
    """A platform whose library is loaded with the first post: one is slow, and most runs post nothing."""

    platform: str
    load: Callable[[], Publisher] = field(repr=False)
    _loaded: Publisher | None = field(default=None, repr=False)

    def publish(self, message: Message) -> PublishResult:
        if self._loaded is None:
            try:
                self._loaded = self.load()
            except Exception as error:
                raise PublishRefused("unavailable", type(error).__name__) from error
        return self._loaded.publish(message)


@dataclass(frozen=True)
class Platform:
    """A platform that can be posted on: which variable holds which credential, and how to get its publisher.

    `load` is called with the credentials, and imports the `library`.
    """

    title: str
    library: str
    variables: Mapping[str, str]
    load: Callable[[Mapping[str, str]], Publisher]
    optional: Mapping[str, str] = field(default_factory=dict)
    urls: tuple[str, ...] = ()
    """Those of its fields that are addresses."""

    def missing(self, environment: Mapping[str, str]) -> list[str]:
        """The variables that are not set."""
        return [name for name in self.variables.values() if not environment.get(name, "").strip()]

    def fault(self, name: str, environment: Mapping[str, str]) -> str | None:
        """Why nothing can be posted here although no credential is missing; None when it can."""
        given = self._given(environment)
        for key in self.urls:
            if key in given and not _is_safe(given[key]):
                return f"{self._all_variables()[key]} must begin with https://"
        if find_spec(self.library) is None:
            return f"{self.title} needs the package {self.library}: install peebot[{name}]"
        return None

    def _all_variables(self) -> Mapping[str, str]:
        return {**self.variables, **self.optional}

    def _given(self, environment: Mapping[str, str]) -> dict[str, str]:
        given = {key: environment.get(name, "").strip() for key, name in self._all_variables().items()}
        return {key: value for key, value in given.items() if value}

    def publisher(self, name: str, environment: Mapping[str, str]) -> Publisher:
        """The publisher with the credentials of the environment, of which none is missing or at fault."""
        credentials = self._given(environment)
        return LatePublisher(name, lambda: self.load(credentials))


def _is_safe(url: str) -> bool:
    """Whether a credential may be sent there: over TLS, or not beyond this machine."""
    parts = urlsplit(url)
    try:
        return parts.scheme == "https" or (
            parts.scheme == "http" and ip_address(parts.hostname or "").is_loopback
        )
    except ValueError:
        return False


def _x(credentials: Mapping[str, str]) -> Publisher:
    from peebot_dagster.posts.x_publisher import XCredentials, XPublisher

    return XPublisher(XCredentials.model_validate(credentials))


def _bluesky(credentials: Mapping[str, str]) -> Publisher:
    from peebot_dagster.posts.bluesky_publisher import BlueskyCredentials, BlueskyPublisher

    return BlueskyPublisher(BlueskyCredentials.model_validate(credentials))


def _mastodon(credentials: Mapping[str, str]) -> Publisher:
    from peebot_dagster.posts.mastodon_publisher import MastodonCredentials, MastodonPublisher

    return MastodonPublisher(MastodonCredentials.model_validate(credentials))


PLATFORMS: Mapping[str, Platform] = {
    "x": Platform(
        "X",
        "tweepy",
        {
            "consumer_key": "PEEBOT_X_CONSUMER_KEY",
            "consumer_secret": "PEEBOT_X_CONSUMER_SECRET",
            "access_token": "PEEBOT_X_ACCESS_TOKEN",
            "access_token_secret": "PEEBOT_X_ACCESS_TOKEN_SECRET",
        },
        _x,
    ),
    "bluesky": Platform(
        "Bluesky",
        "atproto",
        {"handle": "PEEBOT_BLUESKY_HANDLE", "app_password": "PEEBOT_BLUESKY_APP_PASSWORD"},
        _bluesky,
        optional={"service": "PEEBOT_BLUESKY_SERVICE"},
        urls=("service",),
    ),
    "mastodon": Platform(
        "Mastodon",
        "mastodon",
        {"url": "PEEBOT_MASTODON_URL", "access_token": "PEEBOT_MASTODON_ACCESS_TOKEN"},
        _mastodon,
        urls=("url",),
    ),
}
"""The platforms by their name in the ledger."""

DRY_RUN = "dry_run"


@dataclass(frozen=True)
class Destinations:
    """Where posts go, by names of PLATFORMS or only the dry run, and what keeps others from it."""

    platforms: tuple[str, ...]
    faults: tuple[str, ...] = ()


def destinations(environment: Mapping[str, str] = os.environ) -> Destinations:
    """Where posts go, known without loading any library.

    PEEBOT_POSTS is `dry_run`, or a list of platforms, as in `x,mastodon`; or it is not set: then all those
    whose credentials are complete, and a dry run when there are none. A platform at fault does not keep the
    others back. PlatformError when none is left, and for anything else: who writes `off` does not want to
    tweet.
    """
    named = _named(environment)
    if named == (DRY_RUN,):
        return Destinations(named)
    faults = {name: PLATFORMS[name].fault(name, environment) for name in named}
    usable = tuple(name for name, fault in faults.items() if fault is None)
    found = tuple(fault for fault in faults.values() if fault is not None)
    if not usable:
        raise PlatformError("; ".join(found))
    return Destinations(usable, found)


def _named(environment: Mapping[str, str]) -> tuple[str, ...]:
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


def platforms_from_environment(environment: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """The platforms of destinations, which says when there is none."""
    return destinations(environment).platforms


def publishers_from_environment(environment: Mapping[str, str] = os.environ) -> tuple[Publisher, ...]:
    """The publishers of destinations, which says when there is none."""
    found = destinations(environment)
    for fault in found.faults:
        log.warning("Nothing is posted there: %s", fault)
    names = found.platforms
    if not environment.get("PEEBOT_POSTS", "").strip():
        for platform in PLATFORMS.values():
            missing = platform.missing(environment)
            if 0 < len(missing) < len(platform.variables):
                log.warning("Nothing is posted on %s: %s not set", platform.title, ", ".join(missing))
    return tuple(
        DryRun() if name == DRY_RUN else PLATFORMS[name].publisher(name, environment) for name in names
    )
