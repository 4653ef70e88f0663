"""What lies outside and belongs to others: where telemetry comes from, and where posts go to."""

import dagster as dg

from peebot_dagster.defs.labels import GROUP, OWNERS

FEED_KEY = dg.AssetKey("lightstreamer_feed")

lightstreamer_feed = dg.AssetSpec(
    FEED_KEY,
    description=(
        "NASA's public feed of the station's telemetry: Lightstreamer, adapter set `ISSLIVE`; in the demo a "
        "simulated station.\n\nNot ours: it sends changes only and keeps no history. Whether it is heard is "
        "a check of `telemetry_reading`."
    ),
    group_name=GROUP,
    owners=OWNERS,
    kinds={"lightstreamer"},
    tags={"domain": "iss", "outside": "true"},
    metadata={"server": dg.MetadataValue.url("https://push.lightstreamer.com")},
)

public_timelines = dg.AssetSpec(
    "public_timelines",
    deps=[dg.AssetKey("posts")],
    description=(
        "What people read: the timelines on X, Bluesky and Mastodon. In a dry run nothing gets there.\n\n"
        "Not ours: what was sent, when and with which link is in `posts`."
    ),
    group_name=GROUP,
    owners=OWNERS,
    kinds={"x", "bluesky", "mastodon"},
    tags={"domain": "iss", "outside": "true"},
)
