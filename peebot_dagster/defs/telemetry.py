"""What the station said: the readings that the ingest daemon writes, and the minutes computed from them."""

from datetime import timedelta

import dagster as dg

from peebot_dagster.defs.labels import GROUP, OWNERS, table_metadata
from peebot_dagster.defs.outside import FEED_KEY
from peebot_dagster.defs.partitions import DAYS, HOURS, hour_key, steps
from peebot_dagster.defs.resources import Store
from peebot_dagster.defs.retries import tried_again_if_the_store_fails
from peebot_dagster.minutes import refresh_minutes
from peebot_dagster.store import minute_summaries

telemetry_reading = dg.AssetSpec(
    "telemetry_reading",
    deps=[FEED_KEY],
    description=(
        "Every update of the ISS telemetry as received: about 300 channels of NASA's public feed.\n\n"
        "Written by the ingest daemon, not by Dagster; the sensor `feed_state` reports each minute how it "
        "fares. Silence is a normal state of this feed: the station is out of contact (LOS) for some percent "
        "of the time, and the feed itself can be dead for weeks."
    ),
    group_name=GROUP,
    owners=OWNERS,
    kinds={"postgres", "python"},
    tags={"domain": "iss", "source": "lightstreamer"},
    metadata=table_metadata(
        "telemetry_reading",
        ("channel_id", "smallint", "The channel (telemetry_channel)."),
        ("ts", "timestamptz", "Event time: when the station measured it (UTC)."),
        ("received_at", "timestamptz", "When the daemon received it (UTC)."),
        (
            "value",
            "double precision",
            "The value as a finite number, in the unit of the channel; NULL for text.",
        ),
        ("raw_value", "text", "The value as it came."),
        ("status_class", "smallint", "Status.Class of the feed; 24 is good."),
        ("is_snapshot", "boolean", "Whether it came as the first state after a (re)subscription."),
        ("event_id", "bigint", "64-bit hash of item, TimeStamp, Value and Status.Class as received."),
    ),
    # Reported as materialised only while new readings come in, so a silent feed turns it stale.
    freshness_policy=dg.FreshnessPolicy.time_window(
        fail_window=timedelta(minutes=10), warn_window=timedelta(minutes=3)
    ),
)


@dg.asset(
    deps=[telemetry_reading],
    partitions_def=HOURS,
    backfill_policy=DAYS,
    group_name=GROUP,
    owners=OWNERS,
    kinds={"postgres", "sql"},
    tags={"domain": "iss"},
    metadata=table_metadata(
        "telemetry_minute",
        ("channel_id", "smallint", "The channel."),
        ("minute", "timestamptz", "Start of the minute (UTC)."),
        (
            "first_value",
            "double precision",
            "First known value of the minute while live (carried in, or read).",
        ),
        ("last_value", "double precision", "Last known value of the minute while live."),
        ("min_value", "double precision", "Least value that held while live, however short."),
        ("max_value", "double precision", "Greatest value that held while live, however short."),
        (
            "mean_value",
            "double precision",
            "Mean weighted by the time that each value held while live; NULL when never live.",
        ),
        ("readings", "integer", "Readings with an event time in the minute."),
        (
            "live_seconds",
            "real",
            "Seconds of the minute for which the link was live and the value known (0 to 60).",
        ),
    ),
    # Computed every five minutes while readings come in. Detectors and posts have none: they would turn stale
    # with it, and nothing to post is no fault.
    freshness_policy=dg.FreshnessPolicy.time_window(
        fail_window=timedelta(hours=3), warn_window=timedelta(minutes=30)
    ),
)
def telemetry_minute(context: dg.AssetExecutionContext, store: Store) -> dg.MaterializeResult[None]:
    """Each channel, minute by minute: time-weighted mean, extremes, first and last value.

    A channel reports only changes, so the last value is carried forward while the link is live; a minute
    without a link has no value. Recomputed as a whole for each hour that got new, late or replayed readings.
    """
    window = context.partition_time_window
    written = 0
    with tried_again_if_the_store_fails(), store.connect() as connection:
        for start, end in steps(window.start, window.end, timedelta(days=1)):
            rows = refresh_minutes(connection, start, end)
            written += rows
            context.log.info(
                f"{rows} minutes of channels from {start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC"
            )
        summaries = {s.hour: s for s in minute_summaries(connection, window.start, window.end)}
    for hour, summary in summaries.items():
        context.add_asset_metadata(
            {
                "dagster/row_count": summary.rows,
                "readings": summary.readings,
                "channels": summary.channels,
                "live_minutes": summary.live_minutes,
            },
            partition_key=hour_key(hour),
        )
    return dg.MaterializeResult(metadata={"rows_written_by_run": written})
