"""Publishing on Mastodon by Mastodon.py. Import this module late: it is slow to load."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

import requests
from mastodon import Mastodon
from mastodon.errors import MastodonAPIError, MastodonNetworkError, MastodonRatelimitError
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
from peebot_dagster.posts.requests_outcomes import from_requests

TIMEOUT_SECONDS = (5.0, 20.0)
"""To connect, and to answer."""

log = logging.getLogger(__name__)


class MastodonCredentials(BaseModel):
    """The server of the account that posts, and its token; the token never shows in a repr or a log."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str
    access_token: SecretStr


class MastodonPublisher:
    """Posts as the user to whom the token belongs."""

    platform = "mastodon"

    def __init__(
        self, credentials: MastodonCredentials, timeout_seconds: tuple[float, float] = TIMEOUT_SECONDS
    ) -> None:
        session = requests.Session()
        # A redirected POST would come back as a GET of something else.
        session.max_redirects = 0
        self._client = Mastodon(
            access_token=credentials.access_token.get_secret_value(),
            api_base_url=credentials.url,
            ratelimit_method="throw",
            # It goes to requests as it is, which takes two as well.
            request_timeout=timeout_seconds,  # type: ignore[arg-type]
            version_check_mode="none",
            user_agent="PeeBot",
            session=session,
        )

    def __repr__(self) -> str:
        return "MastodonPublisher()"

    def publish(self, message: Message) -> PublishResult:
        """Create one post. Sent once; the server takes a key once, too, for an hour or so."""
        media_ids = [] if message.image is None else self._uploaded(message.image)
        message.last_check()
        try:
            status = self._client.status_post(
                message.text,
                media_ids=media_ids or None,
                visibility="public",
                language="en",
                idempotency_key=message.key,
            )
            external_id, link = status["id"], status["url"]
        except Exception as error:
            raise self._outcome(error) from error
        if not isinstance(external_id, str | int) or not str(external_id).strip():
            raise PublishUncertain("malformed_answer", "the post has no id")
        return PublishResult(str(external_id), link if isinstance(link, str) else None)

    def _uploaded(self, image: Image) -> list[str | int]:
        try:
            media = self._client.media_post(image.png, mime_type="image/png", description=image.alt_text)
            return [media["id"]]
        except Exception as error:
            log.warning("Mastodon did not take the picture (%s); the text goes alone", self._outcome(error))
            return []

    def _outcome(self, error: Exception) -> PublishRefused | PublishUncertain:
        if isinstance(error, MastodonRatelimitError):
            if "Hit rate limit" not in str(error):
                # It failed to read the limits of an answer, which may have been that the post is public.
                return PublishUncertain("malformed_answer", type(error).__name__)
            reset = self._client.ratelimit_reset
            return rate_limited(None if reset is None else datetime.fromtimestamp(reset, UTC))
        if isinstance(error, MastodonNetworkError):
            cause = error.__context__
            if isinstance(cause, requests.RequestException):
                return from_requests(cause)
            return PublishUncertain("transport_error", type(cause or error).__name__)
        if isinstance(error, MastodonAPIError):
            _, status, reason, said = (*error.args, None, None, None, None)[:4]
            if isinstance(status, int):
                return from_status(status, str(said or reason or ""))
            return PublishUncertain("malformed_answer", type(error).__name__)
        if isinstance(error, AttributeError | KeyError | TypeError | ValueError):
            return PublishUncertain("malformed_answer", type(error).__name__)
        return PublishUncertain("unexpected_error", type(error).__name__)
