"""What an exception of the package requests tells about a post. Import this module late: requests is slow."""

from __future__ import annotations

import requests
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError

from peebot_dagster.posts.outcomes import PublishRefused, PublishUncertain

_NEVER_CONNECTED = (NewConnectionError, ConnectTimeoutError, NameResolutionError)


def from_requests(error: requests.RequestException) -> PublishRefused | PublishUncertain:
    """Only what never reached the platform is certain."""
    kind = type(error).__name__
    if isinstance(error, requests.ConnectionError) and _never_connected(error):
        return PublishRefused("unreachable", kind)
    if isinstance(error, requests.Timeout):
        return PublishUncertain("timeout", kind)
    if isinstance(error, requests.ConnectionError):
        return PublishUncertain("connection_lost", kind)
    if isinstance(error, requests.JSONDecodeError):
        return PublishUncertain("malformed_answer", kind)
    return PublishUncertain("transport_error", kind)


def _never_connected(error: BaseException | None) -> bool:
    """Whether the connection failed before anything was sent; requests hides the cause in its arguments."""
    while error is not None:
        if isinstance(error, _NEVER_CONNECTED):
            return True
        inner = getattr(error, "reason", None) or (error.args[0] if error.args else None)
        error = inner if isinstance(inner, BaseException) else None
    return False
