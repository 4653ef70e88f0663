"""`peebot up`: the main job on a live feed."""

from __future__ import annotations

from peebot_local.home import Home
from peebot_local.runner import Plan, Running
from peebot_local.services import ingest
from peebot_local.settings import Settings

_SOURCE = "isslive"


def up_plan(settings: Settings, home: Home) -> Plan:
    """Listen to the feed of the settings; while it is unreachable the daemon goes on trying."""

    def feed(running: Running) -> None:
        running.supervisor.start(
            ingest(
                running.database_url,
                settings.feed_url,
                _SOURCE,
                spool=running.home.spool(_SOURCE),
                metrics_port=running.metrics_port,
            )
        )

    return Plan(title=f"PeeBot on {settings.feed_url}", feed=feed)
