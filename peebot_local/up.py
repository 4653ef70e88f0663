"""`peebot up`: the main job on a live feed."""

from __future__ import annotations

import os
import socket
from ipaddress import ip_address
from urllib.parse import urlsplit

from peebot_dagster.posts.publishers import PLATFORMS
from peebot_local.home import Home
from peebot_local.runner import Plan, Running
from peebot_local.services import ingest
from peebot_local.settings import Settings
from peebot_local.warm_workers import workers_of

_STATION = "isslive"
_PLAYED_HERE = "simulator"
"""The source of what this machine plays: what the store says of it outlives this process and its settings."""


def up_plan(settings: Settings, home: Home, celery: bool = False) -> Plan:
    """Listen to the feed of the settings; while it is unreachable the daemon goes on trying.

    `celery`: Dagster's runs are given to warm workers, all of them here unless others share the broker.
    """
    workers = workers_of(os.environ) if celery else None
    played_here = is_local(settings.feed_url)
    source = source_of(settings.feed_url)

    def feed(running: Running) -> None:
        running.supervisor.start(
            ingest(
                running.database_url,
                settings.feed_url,
                source,
                spool=running.home.spool(source),
                metrics_port=running.metrics_port,
            )
        )

    named = {name.strip() for name in os.environ.get("PEEBOT_POSTS", "").split(",")}
    if played_here and not named & PLATFORMS.keys():
        # Whatever credentials there are: what this machine plays is no news from the station.
        title = f"PeeBot on {settings.feed_url}, which is this machine: posts are a dry run"
        return Plan(title=title, feed=feed, environment={"PEEBOT_POSTS": "dry_run"}, workers=workers)
    return Plan(title=f"PeeBot on {settings.feed_url}", feed=feed, workers=workers)


def source_of(feed_url: str) -> str:
    """What the readings of this feed are said to come from."""
    return _PLAYED_HERE if is_local(feed_url) else _STATION


def is_local(url: str) -> bool:
    """Whether the URL means this machine by its name or by its number, in whatever notation."""
    host = (urlsplit(url).hostname or "").removesuffix(".")
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        # Also the notations of inet_aton, as 127.1.
        address = ip_address(host if ":" in host else socket.inet_aton(host))
    except (ValueError, OSError):
        return False
    mapped = getattr(address, "ipv4_mapped", None) or address
    return bool(mapped.is_loopback or mapped.is_unspecified)
