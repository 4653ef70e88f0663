"""Publishing on X by tweepy. Import this module late: tweepy is slow to load."""

from __future__ import annotations

import base64
import logging
from datetime import UTC, datetime
from typing import Any

import requests
import tweepy  # type: ignore[import-untyped]
from pydantic import BaseModel, ConfigDict, SecretStr
from requests.adapters import HTTPAdapter

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

X_API = "https://api.twitter.com"
"""The address that tweepy talks to."""

CONNECT_TIMEOUT_SECONDS = 5.0
READ_TIMEOUT_SECONDS = 20.0

log = logging.getLogger(__name__)


class XCredentials(BaseModel):
    """OAuth 1.0a user context of the account that posts; the values never show in a repr or a log."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    consumer_key: SecretStr
    consumer_secret: SecretStr
    access_token: SecretStr
    access_token_secret: SecretStr


class TimeoutAdapter(HTTPAdapter):
    """Gives each request a time limit, as tweepy sets none, and sends it once only."""

    def __init__(self, connect_seconds: float, read_seconds: float) -> None:
        super().__init__(max_retries=0)
        self._timeout = (connect_seconds, read_seconds)

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        kwargs["timeout"] = self._timeout
        return super().send(request, *args, **kwargs)


class XPublisher:
    """Posts as the user to whom the credentials belong. `adapter` carries the HTTP requests to X."""

    platform = "x"

    def __init__(self, credentials: XCredentials, adapter: HTTPAdapter | None = None) -> None:
        # These two write the Authorization header to their debug log.
        for name in ("oauthlib", "requests_oauthlib"):
            logging.getLogger(name).setLevel(logging.INFO)
        self._client = tweepy.Client(
            consumer_key=credentials.consumer_key.get_secret_value(),
            consumer_secret=credentials.consumer_secret.get_secret_value(),
            access_token=credentials.access_token.get_secret_value(),
            access_token_secret=credentials.access_token_secret.get_secret_value(),
            wait_on_rate_limit=False,
        )
        self._client.session.mount(
            X_API, adapter or TimeoutAdapter(CONNECT_TIMEOUT_SECONDS, READ_TIMEOUT_SECONDS)
        )
        # A redirected POST would come back as a GET of something else.
        self._client.session.max_redirects = 0

    def __repr__(self) -> str:
        return "XPublisher()"

    def publish(self, message: Message) -> PublishResult:
        """Create one post. Sent at most once: whatever leaves doubt raises PublishUncertain."""
        media_ids = [] if message.image is None else self._uploaded(message.image)
        message.last_check()
        try:
            external_id = self._client.create_tweet(
                text=message.text, media_ids=media_ids or None, user_auth=True
            ).data["id"]
        except Exception as error:
            raise _outcome(error) from error
        if not isinstance(external_id, str) or not external_id.isdigit():
            raise PublishUncertain("malformed_answer", "the id of the post is not a number")
        return PublishResult(external_id, f"https://x.com/i/web/status/{external_id}")

    def _uploaded(self, image: Image) -> list[str]:
        """The id of the uploaded picture, by the second version of the API as everything else; or none."""
        content = base64.b64encode(image.png).decode()
        try:
            media_id = self._post(
                "/2/media/upload",
                {"media": content, "media_category": "tweet_image", "media_type": "image/png"},
            )["data"]["id"]
            self._post(
                "/2/media/metadata", {"id": media_id, "metadata": {"alt_text": {"text": image.alt_text}}}
            )
        except Exception as error:
            log.warning("X did not take the picture (%s); the text goes alone", _outcome(error))
            return []
        return [str(media_id)]

    def _post(self, route: str, body: dict[str, Any]) -> Any:
        return self._client.request("POST", route, json=body, user_auth=True).json()


def _outcome(error: Exception) -> PublishRefused | PublishUncertain:
    if isinstance(error, tweepy.TooManyRequests):
        reset = error.reset_time
        return rate_limited(None if reset is None else datetime.fromtimestamp(reset, UTC))
    if isinstance(error, tweepy.HTTPException):
        return from_status(
            error.response.status_code, " ".join([*map(str, error.api_messages)] or [str(error)])
        )
    if isinstance(error, requests.RequestException):
        return from_requests(error)
    if isinstance(error, AttributeError | KeyError | TypeError | ValueError):
        # tweepy takes the answer's shape for granted; an answer has come, but not one that can be read.
        return PublishUncertain("malformed_answer", type(error).__name__)
    return PublishUncertain("unexpected_error", type(error).__name__)
