"""Pictures and tables on the assets of the telemetry and of each detector, as observations once an hour.

Observations, as a materialisation would make a silent feed look fresh; and by the run of the report, as the
runs that keep the assets up to date are too many for pictures.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime

import dagster as dg
import psycopg

from peebot_dagster.charts.telemetry import coverage_picture, delay_picture, rate_picture, signal_picture
from peebot_dagster.defs.detectors import events_key
from peebot_dagster.defs.telemetry import telemetry_minute, telemetry_reading
from peebot_dagster.detectors.detector import Detector
from peebot_dagster.station_facts import DAY, event_marks, link_spans, minute_counts, minute_values
from peebot_dagster.store import HOUR
from peebot_dagster.telemetry_facts import activity, channel, delays, subsystem_counts


def day_in_pictures(
    connection: psycopg.Connection, detectors: Sequence[Detector], now: datetime
) -> Iterator[dg.AssetObservation]:
    """The 24 h before `now` (UTC): the telemetry as a whole, then each detector's signal with its events."""
    start = now - DAY
    link = link_spans(connection, start, now)
    steps = activity(connection, start, now)
    yield dg.AssetObservation(
        telemetry_reading.key,
        metadata={
            "feed_24_h": dg.MetadataValue.md(rate_picture(steps, link, start, now).markdown),
            "delay_24_h": dg.MetadataValue.md(
                delay_picture(delays(connection, start, now), start, now).markdown
            ),
            "subsystems_last_hour": _subsystems(connection, now),
        },
    )
    yield dg.AssetObservation(
        telemetry_minute.key,
        metadata={"channels_24_h": dg.MetadataValue.md(coverage_picture(steps, link, start, now).markdown)},
    )
    for detector in detectors:
        signal = channel(connection, detector.items[0])
        # A clock's own reading is a ramp: how often it ticks is what tells of the link.
        ticks = signal.kind == "time"
        values = minute_counts if ticks else minute_values
        picture = signal_picture(
            detector.name,
            f"{signal.name}, ticks a minute" if ticks else signal.label,
            values(connection, signal.item, start, now),
            event_marks(connection, detector.name, start, now),
            link,
            start,
            now,
            signal.states,
        )
        yield dg.AssetObservation(
            events_key(detector), metadata={"signal_24_h": dg.MetadataValue.md(picture.markdown)}
        )


def _subsystems(connection: psycopg.Connection, now: datetime) -> dg.TableMetadataValue:
    return dg.MetadataValue.table(
        records=[
            dg.TableRecord(
                {
                    "subsystem": count.subsystem,
                    "channels": count.channels,
                    "heard": count.heard,
                    "readings": count.readings,
                }
            )
            for count in subsystem_counts(connection, now - HOUR, now)
        ],
        schema=dg.TableSchema(
            columns=[
                dg.TableColumn("subsystem", "string"),
                dg.TableColumn("channels", "int", "Channels of the subsystem."),
                dg.TableColumn("heard", "int", "Those that sent something in the last hour."),
                dg.TableColumn("readings", "int", "Readings of the last hour."),
            ]
        ),
    )
