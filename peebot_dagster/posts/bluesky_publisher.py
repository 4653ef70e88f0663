"""Publishing on Bluesky by atproto. Import this module late: it is slow to load."""

from __future__ import annotations

import hashlib
import logging
from datetime import UTC, datetime

import httpx
from atproto import Client, Request, models
from atproto.exceptions import AtProtocolError, InvokeTimeoutError, NetworkError, RateLimitExceededError
from atproto_client.exceptions import RequestErrorBase
from pydantic import BaseModel, ConfigDict, SecretStr

from peebot_dagster.posts.outcomes import (
    Image,
    Message,
    PublishRefused,
    PublishResult,
    PublishUncertain,
    from_status,
    rate_limited,
)

CONNECT_TIMEOUT_SECONDS = 5.0
READ_TIMEOUT_SECONDS = 20.0

_TID_ALPHABET = "234567abcdefghijklmnopqrstuvwxyz"

log = logging.getLogger(__name__)


class BlueskyCredentials(BaseModel):
    """The account that posts, with an app password, which never shows in a repr or a log; and its server."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    handle: str
    app_password: SecretStr
    service: str = "https://bsky.social"


class BlueskyPublisher:
    """Posts as the user to whom the app password belongs. Logs in with the first post."""

    platform = "bluesky"

    def __init__(self, credentials: BlueskyCredentials, read_seconds: float = READ_TIMEOUT_SECONDS) -> None:
        timeout = httpx.Timeout(read_seconds, connect=CONNECT_TIMEOUT_SECONDS)
        self._client = Client(credentials.service, request=Request(timeout=timeout))
        self._credentials = credentials
        self._account: str | None = None
        self._client.on_session_change(lambda _, session: self._remember(session.did))

    def __repr__(self) -> str:
        return "BlueskyPublisher()"

    def publish(self, message: Message) -> PublishResult:
        """Create one post, under a key that comes from the message's: the server holds each key once."""
        account = self._account or self._log_in()
        embed = None if message.image is None else self._uploaded(message.image)
        record = models.AppBskyFeedPost.Record(
            created_at=self._client.get_current_time_iso(), text=message.text, langs=["en"], embed=embed
        )
        message.last_check()
        try:
            uri = self._client.app.bsky.feed.post.create(account, record, record_key(message)).uri
        except Exception as error:
            raise _outcome(error) from error
        if not uri.startswith("at://"):
            raise PublishUncertain("malformed_answer", "the post has no address")
        key = uri.rsplit("/", 1)[-1]
        return PublishResult(uri, f"https://bsky.app/profile/{self._credentials.handle}/post/{key}")

    def _log_in(self) -> str:
        """The account's id. Whatever goes wrong here, nothing is public."""
        try:
            self._client.login(
                self._credentials.handle,
                self._credentials.app_password.get_secret_value(),
                fetch_bsky_profile=False,
            )
        except Exception as error:
            outcome = _outcome(error)
            resume_at = outcome.resume_at if isinstance(outcome, PublishRefused) else None
            raise PublishRefused(f"login_{outcome.reason}", _said(error), resume_at) from error
        if not self._account:
            raise PublishRefused("login_malformed_answer", "the account has no id")
        return self._account

    def _remember(self, account: str) -> None:
        self._account = account

    def _uploaded(self, image: Image) -> models.AppBskyEmbedImages.Main | None:
        try:
            blob = self._client.upload_blob(image.png).blob
            return models.AppBskyEmbedImages.Main(
                images=[models.AppBskyEmbedImages.Image(alt=image.alt_text, image=blob)]
            )
        except Exception as error:
            log.warning("Bluesky did not take the picture (%s); the text goes alone", _outcome(error))
            return None


def record_key(message: Message) -> str:
    """A key of the form that posts have (a TID: microseconds, and ten bits to tell writers apart).

    The same message has the same one, so that a second attempt can't become a second post.
    """
    microseconds = int(message.happened_at.astimezone(UTC).timestamp() * 1_000_000)
    digest = hashlib.blake2b(message.key.encode(), digest_size=2).digest()
    number = (microseconds & (2**53 - 1)) << 10 | int.from_bytes(digest, "big") & 1023
    return "".join(_TID_ALPHABET[number >> shift & 31] for shift in range(60, -1, -5))


def _outcome(error: Exception) -> PublishRefused | PublishUncertain:
    kind = type(error).__name__
    if isinstance(error, RateLimitExceededError):
        return rate_limited(_reset(error))
    if isinstance(error, RequestErrorBase) and error.response is not None:
        return from_status(error.response.status_code, _said(error))
    cause = error if isinstance(error, httpx.HTTPError) else error.__cause__ or error
    if isinstance(cause, httpx.ConnectError | httpx.ConnectTimeout | httpx.UnsupportedProtocol):
        return PublishRefused("unreachable", type(cause).__name__)
    if isinstance(error, InvokeTimeoutError):
        return PublishUncertain("timeout", type(cause).__name__)
    if isinstance(error, NetworkError) or isinstance(cause, httpx.ProtocolError):
        return PublishUncertain("connection_lost", type(cause).__name__)
    if isinstance(cause, httpx.HTTPError):
        return PublishUncertain("transport_error", type(cause).__name__)
    if isinstance(error, AtProtocolError | AttributeError | KeyError | TypeError | ValueError):
        # An answer has come, but not one that can be read.
        return PublishUncertain("malformed_answer", kind)
    return PublishUncertain("unexpected_error", kind)


def _reset(error: RateLimitExceededError) -> datetime | None:
    try:
        reset: datetime | None = error.reset_at
        return reset
    except (ValueError, OverflowError, OSError):
        return None


def _said(error: Exception) -> str:
    """What the server said, if it said it in the way of its protocol."""
    content = error.response.content if isinstance(error, RequestErrorBase) and error.response else None
    name, message = getattr(content, "error", None), getattr(content, "message", None)
    return ": ".join(part for part in (name, message) if isinstance(part, str))
