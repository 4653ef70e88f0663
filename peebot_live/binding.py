"""Where the live page listens, and which hosts only this machine reaches."""

from __future__ import annotations

from ipaddress import ip_address

LOOPBACK = "127.0.0.1"
LIVE_PORT = 3001


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches the host; a name that is not localhost counts as reachable."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
