from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import psycopg
import pytest
from psycopg.types.json import Jsonb

from peebot_dagster.defs.pictures import day_in_pictures
from peebot_dagster.defs.resources import Store
from peebot_dagster.defs.station_report import (
    JOB_NAME,
    is_due,
    report_metadata,
    station_report_asset,
    station_report_schedule,
)
from peebot_dagster.detectors.registry import DETECTORS
from peebot_dagster.detectors.urine_tank import UrineTankDetector
from peebot_dagster.minutes import refresh_minutes
from peebot_dagster.station_facts import minute_counts

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
StoreReadings = Callable[..., None]
SayLive = Callable[[datetime, datetime], None]


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    # A schedule opens the instance by its reference, which an ephemeral one has not.
    with dg.instance_for_test() as instance:
        yield instance


def store_event(
    connection: psycopg.Connection,
    detector: str,
    event_type: str,
    at: datetime,
    percent: float = 3.0,
    lasting: timedelta = MINUTE,
) -> uuid.UUID:
    identity = uuid.uuid4()
    connection.execute(
        "INSERT INTO detected_event (event_id, detector, detector_version, event_type, started_at, ended_at,"
        " state, confidence, payload) VALUES (%s, %s, '1', %s, %s, %s, 'closed', 0.9, %s)",
        (
            identity,
            detector,
            event_type,
            at,
            at + lasting,
            Jsonb({"amount_percent": percent, "amount_ml": 82 * percent, "level_after_percent": 20.0}),
        ),
    )
    connection.commit()
    return identity


@pytest.fixture
def noon(
    connection: psycopg.Connection, store_readings: StoreReadings, live_link: SayLive, day: datetime
) -> datetime:
    """A noon before which the tank was visited at 6 and 9 and pumped at 3, with a night and a post."""
    noon = day + 12 * HOUR
    store_readings([(day, 5), (day + 3 * HOUR, 25), (day + 6 * HOUR, 28), (day + 9 * HOUR, 31)])
    live_link(day, noon)
    refresh_minutes(connection, day, noon)
    store_event(connection, "urine_tank", "tank_transfer", day + 3 * HOUR, 20.0)
    store_event(connection, "urine_tank", "toilet_visit", day + 6 * HOUR)
    visit = store_event(connection, "urine_tank", "toilet_visit", day + 9 * HOUR)
    store_event(connection, "urine_tank", "toilet_visit", day - 20 * HOUR)
    for number in range(5):
        store_event(connection, "orbit", "orbital_night", day + (1 + number) * HOUR)
    connection.execute(
        "INSERT INTO post (event_id, platform, state, text, reason)"
        " VALUES (%s, 'dry_run', 'dry_run', 'One small step.', 'dry_run')",
        (visit,),
    )
    connection.commit()
    return noon


def rows(value: Any) -> list[dict[str, Any]]:
    return [dict(record.data) for record in value.records]


def test_the_report_tells_today_and_the_week_in_numbers(
    connection: psycopg.Connection, noon: datetime
) -> None:
    metadata = report_metadata(connection, UrineTankDetector(), noon)

    told = {name: value.value for name, value in metadata.items()}
    assert (told["visits_today"], told["visits_last_7_days"]) == (2, 3)
    assert (told["ml_today"], told["ml_last_7_days"]) == (2 * 246.0, 3 * 246.0)
    assert (told["nights_today"], told["spacewalks_last_7_days"]) == (5, 0)
    assert told["longest_pause_24_h_minutes"] == 180.0
    assert told["los_percent_24_h"] == 0.0


def test_the_report_lists_the_last_events_of_each_detector_and_the_last_posts_with_their_reason(
    connection: psycopg.Connection, noon: datetime
) -> None:
    metadata = report_metadata(connection, UrineTankDetector(), noon)

    events = rows(metadata["last_events"])
    assert [event["detector"] for event in events].count("orbit") == 3
    assert events[0]["started_at"] == "2025-03-01 09:00:00"
    (post,) = rows(metadata["last_posts"])
    assert (post["text"], post["reason"]) == ("One small step.", "dry_run")


def test_the_skips_of_a_backfill_do_not_hide_the_posts(
    connection: psycopg.Connection, noon: datetime
) -> None:
    connection.execute(
        "INSERT INTO post (event_id, platform, state, reason, updated_at)"
        " SELECT event_id, 'x', 'skipped', 'backfill', now() + interval '1 minute' FROM detected_event"
    )
    connection.commit()

    posts = rows(report_metadata(connection, UrineTankDetector(), noon)["last_posts"])

    assert [post["decision"] for post in posts] == ["skipped"] * 5 + ["dry_run"]


def test_the_report_holds_four_pictures_that_show_what_the_store_holds(
    connection: psycopg.Connection, noon: datetime
) -> None:
    metadata = report_metadata(connection, UrineTankDetector(), noon)

    pictures = {
        name: value.value for name, value in metadata.items() if isinstance(value, dg.MarkdownMetadataValue)
    }
    assert set(pictures) == {"tank_level_24_h", "visits_by_hour", "volume_by_day", "water_balance"}
    assert all("](data:image/png;base64," in (text or "") for text in pictures.values())
    assert "2 visits, 1 transfers" in (pictures["tank_level_24_h"] or "")
    assert "29 % came in" in (pictures["water_balance"] or "")


def test_an_empty_store_has_a_report_too(connection: psycopg.Connection, day: datetime) -> None:
    metadata = report_metadata(connection, UrineTankDetector(), day)

    assert metadata["visits_today"].value == 0
    assert "longest_pause_24_h_minutes" not in metadata
    assert rows(metadata["last_events"]) == []


def test_the_asset_is_materialized_with_its_report(
    database_url: str, connection: psycopg.Connection, noon: datetime, instance: dg.DagsterInstance
) -> None:
    tank = UrineTankDetector()
    result = dg.materialize(
        [station_report_asset([tank], tank)],
        instance=instance,
        resources={"store": Store(database_url=database_url)},
    )

    (materialization,) = result.asset_materializations_for_node("station_report")
    assert "visits_by_hour" in materialization.metadata


def test_each_hour_the_telemetry_and_every_detector_get_pictures_as_observations_of_the_same_run(
    database_url: str,
    connection: psycopg.Connection,
    noon: datetime,
    instance: dg.DagsterInstance,
) -> None:
    detectors = tuple(DETECTORS.values())
    dg.materialize(
        [station_report_asset(detectors, UrineTankDetector())],
        instance=instance,
        resources={"store": Store(database_url=database_url)},
    )

    for name in ("telemetry_reading", "telemetry_minute", *(f"{d.name}_events" for d in detectors)):
        (record,) = instance.fetch_observations(dg.AssetKey(name), limit=9).records
        assert record.asset_observation is not None
        pictures = [
            value.value or ""
            for value in record.asset_observation.metadata.values()
            if isinstance(value, dg.MarkdownMetadataValue)
        ]
        assert pictures
        assert all("](data:image/png;base64," in text for text in pictures)
        # What keeps the feed fresh, and its checks in sight, are its own materialisations only.
        assert instance.get_latest_materialization_event(dg.AssetKey(name)) is None


def test_a_detectors_picture_marks_its_events_and_the_feeds_table_counts_by_subsystem(
    connection: psycopg.Connection, noon: datetime, day: datetime
) -> None:
    reading, _, tank = day_in_pictures(connection, [UrineTankDetector()], noon)

    assert "1 tank_transfer, 2 toilet_visit." in str(tank.metadata["signal_24_h"].value)
    counts = {row["subsystem"]: row for row in rows(reading.metadata["subsystems_last_hour"])}
    assert sum(row["channels"] for row in counts.values()) > 300
    reading, _, _ = day_in_pictures(connection, [UrineTankDetector()], day + 10 * HOUR)
    counts = {row["subsystem"]: row for row in rows(reading.metadata["subsystems_last_hour"])}
    assert sum(row["readings"] for row in counts.values()) == 1
    assert sum(row["heard"] for row in counts.values()) == 1


def test_a_picture_marks_what_began_before_its_day_and_ended_in_it(
    connection: psycopg.Connection, noon: datetime
) -> None:
    store_event(connection, "airlock", "spacewalk", noon - 28 * HOUR, lasting=6 * HOUR)
    store_event(connection, "airlock", "spacewalk", noon - 40 * HOUR, lasting=6 * HOUR)

    *_, airlock = day_in_pictures(connection, [DETECTORS["airlock"]], noon)

    assert "with 1 spacewalk." in str(airlock.metadata["signal_24_h"].value)


def test_the_picture_of_the_link_counts_the_ticks_of_the_stations_clock(
    connection: psycopg.Connection, noon: datetime, store_readings: StoreReadings
) -> None:
    ticks = [(noon - HOUR + timedelta(seconds=second), second * 1000.0) for second in range(0, 120, 2)]
    store_readings(ticks, item="TIME_000001")
    refresh_minutes(connection, noon - HOUR, noon)

    counted = minute_counts(connection, "TIME_000001", noon - HOUR, noon)
    *_, link = day_in_pictures(connection, [DETECTORS["signal"]], noon)

    assert [minute.value for minute in counted] == [30.0, 30.0]
    assert "Station time, ticks a minute" in str(link.metadata["signal_24_h"].value)


def test_a_report_is_due_once_an_hour_when_the_hour_before_is_computed(day: datetime) -> None:
    assert not is_due(day + MINUTE, day + 59 * MINUTE)
    assert not is_due(day + MINUTE, day + 61 * MINUTE)
    assert is_due(day + MINUTE, day + 62 * MINUTE)
    assert is_due(day, day + 30 * HOUR + 5 * MINUTE)


def test_the_first_report_comes_as_soon_as_there_is_something_to_tell_and_then_once_an_hour(
    database_url: str,
    connection: psycopg.Connection,
    instance: dg.DagsterInstance,
    store_readings: StoreReadings,
    day: datetime,
) -> None:
    def tick() -> Sequence[dg.RunRequest] | dg.RunRequest | dg.SkipReason:
        # Closed at the end: it opens the instance once more, and that one would stay Dagster's current one.
        with dg.build_schedule_context(
            instance=instance,
            scheduled_execution_time=datetime.now(UTC),
            resources={"store": Store(database_url=database_url)},
        ) as context:
            return station_report_schedule(context)  # type: ignore[return-value]

    assert isinstance(tick(), dg.SkipReason)

    store_readings([(day, 5)])
    refresh_minutes(connection, day, day + HOUR)
    connection.commit()
    assert isinstance(tick(), dg.RunRequest)

    instance.create_run_for_job(
        dg.GraphDefinition(name=JOB_NAME).to_job(), status=dg.DagsterRunStatus.STARTED
    )
    assert isinstance(tick(), dg.SkipReason)
