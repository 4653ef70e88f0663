"""The asset `station_report`: today and this week in numbers, tables and pictures, once an hour."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import psycopg

from peebot_dagster.charts.picture import Picture
from peebot_dagster.charts.station import (
    balance_picture,
    hours_picture,
    tank_picture,
    volumes_picture,
)
from peebot_dagster.defs.detectors import events_key
from peebot_dagster.defs.hourly import UNFINISHED
from peebot_dagster.defs.labels import GROUP, OWNERS
from peebot_dagster.defs.pictures import day_in_pictures
from peebot_dagster.defs.resources import Store
from peebot_dagster.defs.retries import tried_again_if_the_store_fails
from peebot_dagster.defs.telemetry import telemetry_minute
from peebot_dagster.detectors.detector import Detector
from peebot_dagster.detectors.urine_tank import UPA_STATE_NORMAL, UrineTankDetector
from peebot_dagster.health_facts import link_day
from peebot_dagster.posts.visit_history import VISIT_TYPES
from peebot_dagster.station_facts import (
    DAY,
    counts_since,
    event_marks,
    falls_by_day,
    last_events,
    last_posts,
    link_spans,
    longest_pause,
    midnight,
    minute_values,
    readings_of_hour,
    spans_where,
    visits_by_hour,
    water_days,
)
from peebot_dagster.store import HOUR, hour_of

KEY = dg.AssetKey("station_report")
JOB_NAME = "station_report_job"

EVENTS_OF_EACH_DETECTOR = 3
SHOWN_POSTS = 5
"""Of those that were made, and of events that were skipped."""
WEEK = 7

HISTORY_COUNTS_AFTER = timedelta(minutes=2)
"""Of each hour: the last minutes of the hour before are computed by then."""


def report_metadata(
    connection: psycopg.Connection, tank: UrineTankDetector, now: datetime
) -> dict[str, dg.MetadataValue[Any]]:
    """What the report tells at `now` (UTC): numbers first, then tables, then pictures."""
    today = midnight(now)
    week = today - (WEEK - 1) * DAY
    events = event_marks(connection, tank.name, week - DAY, now)
    return {
        **_numbers(connection, [event for event in events if event.event_type in VISIT_TYPES], now),
        "last_events": _events_table(connection, now),
        "last_posts": _posts_table(connection),
        **{name: dg.MetadataValue.md(picture.markdown) for name, picture in _pictures(connection, tank, now)},
    }


def _numbers(
    connection: psycopg.Connection, visits: Sequence[Any], now: datetime
) -> dict[str, dg.MetadataValue[Any]]:
    today = midnight(now)
    week = today - (WEEK - 1) * DAY
    todays = [visit for visit in visits if visit.at >= today]
    weeks = [visit for visit in visits if visit.at >= week]
    counts_today, counts_week = counts_since(connection, today), counts_since(connection, week)
    link = link_day(connection, now)
    numbers: dict[str, dg.MetadataValue[Any]] = {
        "visits_today": dg.MetadataValue.int(len(todays)),
        "visits_last_7_days": dg.MetadataValue.int(len(weeks)),
        "ml_today": dg.MetadataValue.float(float(sum(visit.amount_ml or 0 for visit in todays))),
        "ml_last_7_days": dg.MetadataValue.float(float(sum(visit.amount_ml or 0 for visit in weeks))),
        "nights_today": dg.MetadataValue.int(counts_today.get("orbital_night", 0)),
        "spacewalks_last_7_days": dg.MetadataValue.int(counts_week.get("spacewalk", 0)),
        "signal_losses_today": dg.MetadataValue.int(counts_today.get("signal_loss", 0)),
        "los_percent_24_h": dg.MetadataValue.float(round(100 * link.los_share, 2)),
        "readings_per_second_last_hour": dg.MetadataValue.float(
            round(readings_of_hour(connection, hour_of(now) - HOUR) / 3600, 2)
        ),
    }
    pause = longest_pause(visits, now - DAY)
    if pause is not None:
        numbers["longest_pause_24_h_minutes"] = dg.MetadataValue.float(round(pause.total_seconds() / 60, 1))
    return numbers


def _pictures(
    connection: psycopg.Connection, tank: UrineTankDetector, now: datetime
) -> list[tuple[str, Picture]]:
    today = midnight(now)
    week = today - (WEEK - 1) * DAY
    start = now - DAY
    events = event_marks(connection, tank.name, week - DAY, now)
    visits = [event for event in events if event.event_type in VISIT_TYPES]
    days = water_days(events, falls_by_day(connection, tank.level_item, week, now), week.date(), WEEK)
    return [
        (
            "tank_level_24_h",
            tank_picture(
                minute_values(connection, tank.level_item, start, now),
                [event for event in events if event.at >= start],
                spans_where(
                    minute_values(connection, tank.state_item, start, now), UPA_STATE_NORMAL, "processing"
                ),
                link_spans(connection, start, now),
                start,
                now,
            ),
        ),
        ("visits_by_hour", hours_picture(*visits_by_hour(visits, today))),
        ("volume_by_day", volumes_picture(days)),
        ("water_balance", balance_picture(days)),
    ]


def _events_table(connection: psycopg.Connection, now: datetime) -> dg.TableMetadataValue:
    return dg.MetadataValue.table(
        records=[
            dg.TableRecord(
                {
                    "started_at": f"{event.started_at:%Y-%m-%d %H:%M:%S}",
                    "detector": event.detector,
                    "event_type": event.event_type,
                    "minutes": round((event.ended_at - event.started_at).total_seconds() / 60, 1)
                    if event.ended_at
                    else None,
                    "state": event.state,
                    "confidence": round(event.confidence, 2),
                }
            )
            for event in last_events(connection, now - 30 * DAY, EVENTS_OF_EACH_DETECTOR)
        ],
        schema=dg.TableSchema(
            columns=[
                dg.TableColumn("started_at", "string", "UTC"),
                dg.TableColumn("detector", "string"),
                dg.TableColumn("event_type", "string"),
                dg.TableColumn("minutes", "float", "From the first to the last evidence."),
                dg.TableColumn("state", "string"),
                dg.TableColumn("confidence", "float", "0 to 1"),
            ]
        ),
    )


def _posts_table(connection: psycopg.Connection) -> dg.TableMetadataValue:
    return dg.MetadataValue.table(
        records=[
            dg.TableRecord(
                {
                    "at": f"{post.at:%Y-%m-%d %H:%M:%S}",
                    "platform": post.platform,
                    "decision": post.state,
                    "reason": post.reason or "",
                    "text": post.text or "",
                }
            )
            for post in last_posts(connection, SHOWN_POSTS)
        ],
        schema=dg.TableSchema(
            columns=[
                dg.TableColumn("at", "string", "UTC"),
                dg.TableColumn("platform", "string"),
                dg.TableColumn("decision", "string"),
                dg.TableColumn("reason", "string", "Why it was not sent."),
                dg.TableColumn("text", "string"),
            ]
        ),
    )


def station_report_asset(detectors: Sequence[Detector], tank: UrineTankDetector) -> dg.AssetsDefinition:
    """The asset `station_report`, downstream of all that it tells of."""

    @dg.asset(
        key=KEY,
        deps=[telemetry_minute, *(events_key(detector) for detector in detectors), dg.AssetKey("posts")],
        group_name=GROUP,
        owners=OWNERS,
        kinds={"report", "matplotlib"},
        tags={"domain": "iss"},
        description=(
            "The station today and in the last seven days: visits, mL, pauses, nights, spacewalks, losses of "
            "signal; the last events of each detector and the last posts; and, behind *Show Markdown*, "
            "pictures of the tank's level, visits by hour, volume by day and the water balance.\n\n"
            "Made anew each hour, with pictures of the last 24 h on the assets above. All times are UTC; "
            "1 % of the tank is 82 mL."
        ),
        freshness_policy=dg.FreshnessPolicy.time_window(
            fail_window=timedelta(hours=6), warn_window=timedelta(hours=2)
        ),
    )
    def report(context: dg.AssetExecutionContext, store: Store) -> dg.MaterializeResult[None]:
        now = datetime.now(UTC)
        with tried_again_if_the_store_fails(), store.connect() as connection:
            for observation in day_in_pictures(connection, detectors, now):
                context.log_event(observation)
            return dg.MaterializeResult(metadata=report_metadata(connection, tank, now))

    return report


station_report_job = dg.define_asset_job(
    JOB_NAME,
    selection=dg.AssetSelection.assets(KEY),
    executor_def=dg.in_process_executor,
    tags={"dagster/max_runtime": 600},
    description="Tells today and this week of the station in numbers, tables and pictures.",
)


@dg.schedule(
    name="station_report_hourly",
    job_name=JOB_NAME,
    cron_schedule="*/2 * * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Each hour, and soon after the first start: one run of the report.",
)
def station_report_schedule(
    context: dg.ScheduleEvaluationContext, store: Store
) -> dg.RunRequest | dg.SkipReason:
    now = context.scheduled_execution_time
    runs = context.instance.get_run_records(dg.RunsFilter(job_name=JOB_NAME), limit=1)
    last = runs[0] if runs else None
    if last is not None and last.dagster_run.status in UNFINISHED:
        return dg.SkipReason("The previous report has not finished.")
    if last is not None and not is_due(last.create_timestamp, now):
        return dg.SkipReason("This hour's report is made.")
    with store.connect() as connection:
        ((has_minutes,),) = connection.execute("SELECT EXISTS (SELECT FROM telemetry_minute)").fetchall()
    if not has_minutes:
        return dg.SkipReason("There is nothing to tell yet.")
    return dg.RunRequest()


def is_due(last: datetime, now: datetime) -> bool:
    """Whether the report after the `last` one is due at `now` (UTC): each hour, once the last is computed."""
    return hour_of(now) > hour_of(last) and now - hour_of(now) >= HISTORY_COUNTS_AFTER
