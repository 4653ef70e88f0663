"""Publishing on X by tweepy. Import this module late: tweepy is slow to load."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any

import requests
import tweepy  # type: ignore[import-untyped]
from pydantic import BaseModel, ConfigDict, SecretStr
from requests.adapters import HTTPAdapter
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError

from peebot_dagster.posts.publishers import (
    Message,
    PublishRefused,
    PublishResult,
    PublishUncertain,
)

X_API = "https://api.twitter.com"
"""The address that tweepy talks to."""

CONNECT_TIMEOUT_SECONDS = 5.0
READ_TIMEOUT_SECONDS = 20.0

_NEVER_CONNECTED = (NewConnectionError, ConnectTimeoutError, NameResolutionError)
_DETAIL_LENGTH = 300


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
        try:
            external_id = self._client.create_tweet(text=message.text, user_auth=True).data["id"]
        except tweepy.TooManyRequests as error:
            raise _rate_limited(error) from error
        except tweepy.HTTPException as error:
            raise _from_status(error) from error
        except requests.ConnectionError as error:
            if _never_connected(error):
                raise PublishRefused("unreachable", type(error).__name__) from error
            raise PublishUncertain("connection_lost", type(error).__name__) from error
        except requests.Timeout as error:
            raise PublishUncertain("timeout", type(error).__name__) from error
        except requests.JSONDecodeError as error:
            raise PublishUncertain("malformed_answer", type(error).__name__) from error
        except requests.RequestException as error:
            raise PublishUncertain("transport_error", type(error).__name__) from error
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            # tweepy takes the answer's shape for granted; an answer has come, but not one that can be read.
            raise PublishUncertain("malformed_answer", type(error).__name__) from error
        if not isinstance(external_id, str) or not external_id.isdigit():
            raise PublishUncertain("malformed_answer", "the id of the post is not a number")
        return PublishResult(external_id, f"https://x.com/i/web/status/{external_id}")


def _from_status(error: tweepy.HTTPException) -> PublishRefused | PublishUncertain:
    status: int = error.response.status_code
    detail = " ".join([*map(str, error.api_messages)] or [str(error)])[:_DETAIL_LENGTH]
    if 400 <= status < 500:
        if status == 403 and "duplicate" in detail.lower():
            return PublishRefused("duplicate", detail)
        return PublishRefused(_REFUSALS.get(status, f"http_{status}"), detail)
    return PublishUncertain(f"http_{status}", detail)


_REFUSALS = {400: "bad_request", 401: "unauthorized", 403: "forbidden", 404: "not_found"}


def _never_connected(error: BaseException | None) -> bool:
    """Whether the connection failed before anything was sent; requests hides the cause in its arguments."""
    while error is not None:
        if isinstance(error, _NEVER_CONNECTED):
            return True
        inner = getattr(error, "reason", None) or (error.args[0] if error.args else None)
        error = inner if isinstance(inner, BaseException) else None
    return False


def _rate_limited(error: tweepy.TooManyRequests) -> PublishRefused:
    if error.reset_time is None:
        return PublishRefused("rate_limited")
    resume_at = datetime.fromtimestamp(error.reset_time, UTC)
    return PublishRefused("rate_limited", f"until {resume_at:%Y-%m-%d %H:%M} UTC", resume_at)
