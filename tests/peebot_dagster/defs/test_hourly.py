from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import dagster as dg
import psycopg
import pytest
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill
from dagster._core.execution.plan.objects import StepSuccessData

from peebot_dagster.definitions import build_definitions
from peebot_dagster.defs.detectors import events_key
from peebot_dagster.defs.failures import Failures
from peebot_dagster.defs.hourly import JOB_NAME, hourly_schedule, requests_for, runs_for
from peebot_dagster.defs.live import live_detection_sensors
from peebot_dagster.defs.partitions import FIRST_HOUR, LAST_HOUR, hour_key
from peebot_dagster.defs.resources import Store
from peebot_dagster.defs.telemetry import telemetry_minute
from peebot_dagster.detectors.detector import Detector
from peebot_dagster.minutes import PROCESSOR, refresh_minutes
from peebot_dagster.store import contiguous_spans, mark_processed, revisions, stale_hours

StoreReadings = Callable[..., None]
SayLive = Callable[[datetime, datetime], None]
Evaluate = Callable[..., "list[dg.RunRequest] | dg.SkipReason"]

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    # A schedule opens the instance by its reference, which an ephemeral one has not.
    with dg.instance_for_test() as instance:
        yield instance


@pytest.fixture
def evaluate(database_url: str, instance: dg.DagsterInstance, jump: Detector) -> Evaluate:
    definitions = build_definitions([jump])
    long_ago = datetime(2024, 1, 1, tzinfo=UTC)

    def tick(now: datetime, loaded_at: datetime = long_ago) -> list[dg.RunRequest] | dg.SkipReason:
        schedule = hourly_schedule([jump], loaded_at)
        # Closed at the end: it opens the instance once more, and that one would stay Dagster's current one.
        with dg.build_schedule_context(
            instance=instance,
            scheduled_execution_time=now,
            repository_def=definitions.get_repository_def(),
            resources={"store": Store(database_url=database_url)},
        ) as context:
            return schedule(context)  # type: ignore[return-value]

    return tick


def test_hours_in_any_order_become_spans_without_a_gap_newest_first(day: datetime) -> None:
    assert contiguous_spans([day + i * HOUR for i in (5, 0, 1, 6)]) == [
        (day + 5 * HOUR, day + 7 * HOUR),
        (day, day + 2 * HOUR),
    ]


def test_short_gaps_share_a_run_and_long_stretches_are_cut_into_weeks(day: datetime) -> None:
    assert runs_for([day, day + 5 * HOUR]) == [(day, day + 6 * HOUR)]
    weeks = runs_for([day + i * HOUR for i in range(24 * 10)])
    assert weeks == [(day + timedelta(days=3), day + timedelta(days=10)), (day, day + timedelta(days=3))]
    assert len(runs_for([day + i * HOUR for i in range(24 * 40)])) == 2


def test_the_schedule_asks_for_the_stale_hours_as_one_range(
    store_readings: StoreReadings, evaluate: Evaluate, day: datetime
) -> None:
    store_readings([(day, 5), (day + 90 * MINUTE, 6)])

    requests = evaluate(day + 10 * HOUR + MINUTE)

    assert isinstance(requests, list)
    (request,) = requests
    assert request.tags["dagster/asset_partition_range_start"] == "2025-03-01-00:00"
    assert request.tags["dagster/asset_partition_range_end"] == "2025-03-01-01:00"


def test_the_running_hour_is_computed_as_soon_as_it_has_begun_and_then_every_five_minutes_only(
    connection: psycopg.Connection, store_readings: StoreReadings, evaluate: Evaluate, day: datetime
) -> None:
    store_readings([(day + MINUTE, 5)])
    assert isinstance(evaluate(day + 2 * MINUTE), list)

    refresh_minutes(connection, day, day + HOUR)
    connection.commit()
    store_readings([(day + 2 * MINUTE, 6)])

    assert isinstance(evaluate(day + 3 * MINUTE), dg.SkipReason)
    assert isinstance(evaluate(day + 5 * MINUTE), list)
    assert isinstance(evaluate(day + HOUR + MINUTE), list)


def test_the_events_of_the_running_hour_are_left_to_live_detection_while_it_looks(
    connection: psycopg.Connection,
    store_readings: StoreReadings,
    evaluate: Evaluate,
    jump: Detector,
    day: datetime,
) -> None:
    def selected(now: datetime) -> list[dg.AssetKey] | None:
        requests = evaluate(now)
        assert isinstance(requests, list)
        return requests[0].asset_selection  # type: ignore[return-value]

    store_readings([(day + MINUTE, 5)])
    connection.execute(
        "INSERT INTO processor_state (detector, version, last_run_at) VALUES (%s, '1', %s)",
        (jump.name, day + 5 * MINUTE),
    )
    connection.commit()

    assert selected(day + 10 * MINUTE) == [telemetry_minute.key]
    assert selected(day + 20 * MINUTE) == [telemetry_minute.key, events_key(jump)], "live detection is off"
    assert selected(day + HOUR + MINUTE) is None, "an hour that is over is computed whole"


def test_nothing_is_asked_for_when_nothing_has_changed(
    connection: psycopg.Connection, store_readings: StoreReadings, evaluate: Evaluate, day: datetime
) -> None:
    store_readings([(day, 5)])
    refresh_minutes(connection, day, day + HOUR)
    connection.commit()

    assert isinstance(evaluate(day + 5 * HOUR), dg.SkipReason)


def test_hours_that_only_a_detector_has_missed_are_detected_without_computing_the_minutes_again(
    connection: psycopg.Connection,
    database_url: str,
    store_readings: StoreReadings,
    evaluate: Evaluate,
    instance: dg.DagsterInstance,
    jump: Detector,
    day: datetime,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PEEBOT_DATABASE_URL", database_url)
    # The sensor is off: nobody but the schedule looks for the jump.
    store_readings([(day, 5), (day + 30 * MINUTE, 8), (day + 2 * HOUR, 8)])
    refresh_minutes(connection, day, day + 3 * HOUR)
    connection.commit()

    assert isinstance(evaluate(day + 5 * HOUR + MINUTE), dg.SkipReason), (
        "it is the sensor's, for some minutes"
    )
    requests = evaluate(day + 5 * HOUR)
    assert isinstance(requests, list)
    (request,) = requests
    assert request.asset_selection == [dg.AssetKey("jump_events")]
    result = (
        build_definitions([jump])
        .resolve_job_def(JOB_NAME)
        .execute_in_process(instance=instance, tags=request.tags, asset_selection=request.asset_selection)
    )

    assert result.success
    assert connection.execute("SELECT count(*) FROM detected_event").fetchone() == (1,)
    connection.rollback()
    assert isinstance(evaluate(day + 5 * HOUR), dg.SkipReason), "the last hours only wait for time to pass"
    assert stale_hours(connection, jump.name) == [day + 2 * HOUR]


def test_what_live_detection_failed_at_is_repaired_by_the_schedule(
    connection: psycopg.Connection,
    database_url: str,
    store_readings: StoreReadings,
    evaluate: Evaluate,
    instance: dg.DagsterInstance,
    jump: Detector,
    broken: Detector,
    day: datetime,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PEEBOT_DATABASE_URL", database_url)
    store_readings([(day, 5), (day + 30 * MINUTE, 8), (day + 2 * HOUR, 8)])
    refresh_minutes(connection, day, day + 3 * HOUR)
    connection.commit()
    live, _ = live_detection_sensors([type(broken)(name=jump.name)], timedelta(0))  # type: ignore[call-arg]
    tick = live(dg.build_sensor_context(instance, resources={"store": Store(database_url=database_url)}))
    assert isinstance(tick, dg.SensorResult)
    (check,) = tick.asset_events
    assert isinstance(check, dg.AssetCheckEvaluation)
    assert not check.passed
    assert connection.execute("SELECT count(*) FROM detected_event").fetchone() == (0,)
    connection.rollback()

    requests = evaluate(day + 5 * HOUR)
    assert isinstance(requests, list)
    result = (
        build_definitions([jump])
        .resolve_job_def(JOB_NAME)
        .execute_in_process(
            instance=instance, tags=requests[0].tags, asset_selection=requests[0].asset_selection
        )
    )

    assert result.success
    assert connection.execute("SELECT count(*) FROM detected_event").fetchone() == (1,)
    ((error,),) = connection.execute("SELECT last_error FROM processor_state").fetchall()
    assert error is None


def test_a_run_for_the_minutes_serves_the_detectors_too(day: datetime) -> None:
    events = dg.AssetKey("jump_events")

    assert len(requests_for([day, day + HOUR], {events: [day]})) == 1
    assert len(requests_for([day], {events: [day + 20 * HOUR, day]})) == 2


def test_a_detector_that_is_far_behind_keeps_no_other_from_its_older_hours(day: datetime) -> None:
    broken, jump, other = (dg.AssetKey(name) for name in ("broken_events", "jump_events", "other_events"))
    twenty_days = [day + i * HOUR for i in range(20 * 24)]

    requests = requests_for([], {broken: twenty_days[24:], jump: [day], other: [day + 2 * HOUR]})

    assert [(span(request), request.asset_selection) for request in requests] == [
        (("2025-03-14-00:00", "2025-03-20-23:00"), [broken]),
        (("2025-03-07-00:00", "2025-03-13-23:00"), [broken]),
        (("2025-03-01-00:00", "2025-03-01-02:00"), [jump, other]),
    ]
    assert len({request.run_key for request in requests}) == 3


def span(request: dg.RunRequest) -> tuple[str, str]:
    tags = request.tags
    return tags["dagster/asset_partition_range_start"], tags["dagster/asset_partition_range_end"]


@pytest.fixture
def failed_week(
    connection: psycopg.Connection,
    database_url: str,
    store_readings: StoreReadings,
    evaluate: Evaluate,
    instance: dg.DagsterInstance,
    jump: Detector,
    broken: Detector,
    day: datetime,
    monkeypatch: pytest.MonkeyPatch,
) -> datetime:
    """When a run of jump over the newest week of a month has just failed; the minutes count as computed."""
    monkeypatch.setenv("PEEBOT_DATABASE_URL", database_url)
    store_readings([(day + i * HOUR, 5) for i in range(24 * 30)])
    mark_processed(connection, PROCESSOR, revisions(connection, day, day + 31 * 24 * HOUR))
    connection.commit()
    now = datetime.now(UTC).replace(minute=0)
    requests = evaluate(now)
    assert isinstance(requests, list)
    newest = requests[0]
    result = (
        build_definitions([type(broken)(name=jump.name)])  # type: ignore[call-arg]
        .resolve_job_def(JOB_NAME)
        .execute_in_process(
            instance=instance,
            tags=newest.tags,
            asset_selection=newest.asset_selection,
            raise_on_error=False,
        )
    )
    assert not result.success
    return now


def test_what_has_failed_is_not_asked_for_every_five_minutes(
    evaluate: Evaluate, failed_week: datetime
) -> None:
    assert isinstance(evaluate(failed_week + 5 * MINUTE), dg.SkipReason)


def test_after_an_hour_the_weeks_before_the_failed_one_have_their_turn_and_after_a_day_that_one(
    evaluate: Evaluate, failed_week: datetime
) -> None:
    later = evaluate(failed_week + 3 * HOUR)
    next_day = evaluate(failed_week + 26 * HOUR)

    assert isinstance(later, list)
    assert isinstance(next_day, list)
    assert span(later[0])[1] == "2025-03-23-21:00"
    assert span(next_day[0])[1] == "2025-03-30-21:00"


def test_a_step_that_was_under_way_when_its_run_was_ended_counts_as_failed_and_one_after_it_does_not(
    instance: dg.DagsterInstance, day: datetime
) -> None:
    run = instance.create_run_for_job(
        dg.GraphDefinition(name=JOB_NAME).to_job(),
        status=dg.DagsterRunStatus.FAILURE,
        tags={FIRST_HOUR: hour_key(day), LAST_HOUR: hour_key(day + HOUR)},
    )
    for step, what, data in (
        ("done_events", "STEP_START", None),
        ("done_events", "STEP_SUCCESS", StepSuccessData(duration_ms=1.0)),
        ("hanging_events", "STEP_START", None),
    ):
        event = dg.DagsterEvent(what, JOB_NAME, step_key=step, event_specific_data=data)
        instance.report_dagster_event(event, run.run_id)
    now = datetime.now(UTC)
    failures = Failures(instance, JOB_NAME, day, now)

    assert failures.rests(dg.AssetKey("hanging_events"))
    assert not failures.rests(dg.AssetKey("done_events"))
    assert not failures.rests(dg.AssetKey("later_events"))


@pytest.mark.parametrize("ended", [True, False])
def test_a_detector_that_hung_for_an_hour_rests_from_when_its_run_was_ended_and_before(
    instance: dg.DagsterInstance, day: datetime, ended: bool
) -> None:
    run = instance.create_run_for_job(
        dg.GraphDefinition(name=JOB_NAME).to_job(),
        status=dg.DagsterRunStatus.NOT_STARTED,
        tags={FIRST_HOUR: hour_key(day), LAST_HOUR: hour_key(day + HOUR)},
    )
    begun = datetime.now(UTC)

    def report(what: str, at: datetime, step: str | None = None) -> None:
        event = dg.DagsterEvent(what, JOB_NAME, step_key=step)
        instance.handle_new_event(
            dg.EventLogEntry(
                error_info=None,
                level="info",
                user_message="",
                run_id=run.run_id,
                timestamp=at.timestamp(),
                step_key=step,
                job_name=JOB_NAME,
                dagster_event=event,
            )
        )

    report("PIPELINE_START", begun)
    report("STEP_START", begun, "hanging_events")
    hanging = dg.AssetKey("hanging_events")
    for minutes, rests in ((9, False), (11, True), (59, True)):
        assert Failures(instance, JOB_NAME, day, begun + minutes * MINUTE).rests(hanging) is rests
    if ended:
        report("PIPELINE_FAILURE", begun + 60 * MINUTE)
        for minutes, rests in ((61, True), (119, True), (121, False)):
            assert Failures(instance, JOB_NAME, day, begun + minutes * MINUTE).rests(hanging) is rests


def test_code_that_was_loaded_since_is_tried_at_once(evaluate: Evaluate, failed_week: datetime) -> None:
    assert isinstance(evaluate(failed_week + 5 * MINUTE, loaded_at=datetime.now(UTC)), list)


def test_the_minutes_are_computed_without_a_detector_that_has_just_failed(
    store_readings: StoreReadings, evaluate: Evaluate, failed_week: datetime, day: datetime
) -> None:
    store_readings([(day + MINUTE, 6)])

    requests = evaluate(failed_week + 6 * MINUTE)

    assert isinstance(requests, list)
    assert [request.asset_selection for request in requests] == [[telemetry_minute.key]]


def test_a_backfill_is_not_competed_with(
    store_readings: StoreReadings,
    evaluate: Evaluate,
    instance: dg.DagsterInstance,
    jump: Detector,
    day: datetime,
) -> None:
    store_readings([(day, 5), (day + 5 * HOUR, 6)])
    backfill = a_backfill(instance, jump, [day + i * HOUR for i in range(6)])
    instance.add_backfill(backfill)

    assert isinstance(evaluate(day + 9 * HOUR), dg.SkipReason)
    running_hour = evaluate(day + 5 * HOUR + 5 * MINUTE)
    assert isinstance(running_hour, list)
    assert running_hour[0].tags["dagster/asset_partition_range_start"] == "2025-03-01-05:00"

    instance.update_backfill(backfill.with_status(BulkActionStatus.COMPLETED_SUCCESS))
    assert isinstance(evaluate(day + 9 * HOUR), list)


def test_hours_that_a_backfill_does_not_touch_do_not_wait_for_it(
    connection: psycopg.Connection,
    store_readings: StoreReadings,
    evaluate: Evaluate,
    instance: dg.DagsterInstance,
    jump: Detector,
    day: datetime,
) -> None:
    store_readings([(day, 5), (day + 30 * HOUR, 6), (day + 40 * HOUR, 6)])
    instance.add_backfill(a_backfill(instance, jump, [day]))

    late = evaluate(day + 50 * HOUR + MINUTE)
    assert isinstance(late, list)
    assert [request.tags["dagster/asset_partition_range_start"] for request in late] == ["2025-03-02-06:00"]

    refresh_minutes(connection, day, day + 41 * HOUR)
    connection.commit()
    missed = evaluate(day + 50 * HOUR)
    assert isinstance(missed, list)
    assert [request.tags["dagster/asset_partition_range_start"] for request in missed] == ["2025-03-02-06:00"]


def a_backfill(instance: dg.DagsterInstance, detector: Detector, hours: list[datetime]) -> PartitionBackfill:
    """As `./peebot backfill` makes it: the minutes and the events of these hours."""
    return PartitionBackfill.from_asset_partitions(
        backfill_id="abcdefgh",
        asset_graph=build_definitions([detector]).resolve_asset_graph(),
        partition_names=[hour_key(hour) for hour in hours],
        asset_selection=[telemetry_minute.key, events_key(detector)],
        backfill_timestamp=datetime.now(UTC).timestamp(),
        tags={},
        dynamic_partitions_store=instance,
        all_partitions=False,
        title=None,
        description=None,
        run_config=None,
    )


def test_a_catch_up_that_has_not_finished_is_not_started_again(
    store_readings: StoreReadings, evaluate: Evaluate, instance: dg.DagsterInstance, day: datetime
) -> None:
    store_readings([(day, 5)])
    instance.create_run_for_job(
        dg.GraphDefinition(name=JOB_NAME).to_job(), status=dg.DagsterRunStatus.STARTED
    )

    assert isinstance(evaluate(day + 5 * HOUR), dg.SkipReason)


def test_a_catch_up_whose_process_was_killed_holds_up_the_next_for_ten_minutes_only(
    store_readings: StoreReadings, evaluate: Evaluate, instance: dg.DagsterInstance, day: datetime
) -> None:
    store_readings([(day, 5)])
    instance.create_run_for_job(
        dg.GraphDefinition(name=JOB_NAME).to_job(), status=dg.DagsterRunStatus.STARTED
    )
    now = datetime.now(UTC)

    assert isinstance(evaluate(now + 8 * MINUTE), dg.SkipReason)
    assert isinstance(evaluate(now + 15 * MINUTE), list)


def test_the_job_of_the_schedule_computes_the_range_and_repairs_what_the_live_sensor_missed(
    connection: psycopg.Connection,
    database_url: str,
    store_readings: StoreReadings,
    live_link: SayLive,
    evaluate: Evaluate,
    instance: dg.DagsterInstance,
    jump: Detector,
    day: datetime,
) -> None:
    store_readings([(day, 5), (day + 30 * MINUTE, 8), (day + 90 * MINUTE, 12)])
    live_link(day, day + 2 * HOUR)
    requests = evaluate(day + 10 * HOUR)
    assert isinstance(requests, list)
    job = build_definitions([jump]).resolve_job_def(JOB_NAME)

    result = job.execute_in_process(
        instance=instance,
        tags=requests[0].tags,
        resources={"store": Store(database_url=database_url), "io_manager": dg.mem_io_manager},
    )

    assert result.success
    assert connection.execute("SELECT count(*) FROM detected_event").fetchone() == (2,)
    assert connection.execute("SELECT count(*) FROM telemetry_minute").fetchone() == (120,)
    connection.rollback()
    assert stale_hours(connection, PROCESSOR) == []
