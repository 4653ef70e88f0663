"""What is handed to a platform, and what may come of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

_REFUSALS = {400: "bad_request", 401: "unauthorized", 403: "forbidden", 404: "not_found"}
_DETAIL_LENGTH = 300


@dataclass(frozen=True)
class Image:
    """A picture (PNG) that goes with a text, and what it shows for those who do not see it."""

    png: bytes
    alt_text: str


@dataclass(frozen=True)
class Message:
    """A text to publish about what happened at `happened_at` (UTC).

    `key` names what it is about: a platform that knows such keys takes each once. `last_check` is called
    after log-in and picture, right before the request that makes it public; what that raises goes through.
    """

    text: str
    key: str
    happened_at: datetime
    image: Image | None = None
    last_check: Callable[[], None] = field(default=lambda: None, repr=False, compare=False)


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


class Publisher(Protocol):
    """A platform that takes texts."""

    @property
    def platform(self) -> str:
        """Name in the ledger."""
        ...

    def publish(self, message: Message) -> PublishResult:
        """Publish once. Raises PublishRefused or PublishUncertain; never tries again by itself.

        A picture that the platform does not take is left out: the text is the post.
        """
        ...


def from_status(status: int, detail: str = "") -> PublishRefused | PublishUncertain:
    """What an HTTP status other than success, 401 to 429 with a meaning of its own, tells about a post."""
    detail = " ".join(detail.split())[:_DETAIL_LENGTH]
    if status == 403 and "duplicate" in detail.lower():
        return PublishRefused("duplicate", detail)
    if 400 <= status < 500:
        return PublishRefused(_REFUSALS.get(status, f"http_{status}"), detail)
    return PublishUncertain(f"http_{status}", detail)


def rate_limited(resume_at: datetime | None) -> PublishRefused:
    """The platform takes no more posts for now; until when (UTC), if it said so."""
    if resume_at is None:
        return PublishRefused("rate_limited")
    return PublishRefused("rate_limited", f"until {resume_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC", resume_at)
