"""A step that the store fails under starts again; what code does wrong is not repeated."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import dagster as dg
import psycopg
import pytest

from peebot_dagster.definitions import build_definitions
from peebot_dagster.defs import detectors, telemetry
from peebot_dagster.defs.partitions import hour_key
from peebot_dagster.detectors.detector import Detector

StoreReadings = Callable[..., None]
HOUR = timedelta(hours=1)


class DeadAtFirst:
    """Stands before a function: its first calls meet a store that ends the connection."""

    def __init__(self, function: Callable[..., Any], failures: int, error: Exception) -> None:
        self.calls = 0
        self._function, self._failures, self._error = function, failures, error

    def __call__(self, *arguments: Any) -> Any:
        self.calls += 1
        if self.calls <= self._failures:
            raise self._error
        return self._function(*arguments)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("peebot_dagster.defs.retries.PAUSE_S", 0.0)


@pytest.fixture
def computed(
    database_url: str,
    instance: dg.DagsterInstance,
    jump: Detector,
    day: datetime,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[str], bool]:
    """Whether a run of one hour of an asset succeeds."""
    monkeypatch.setenv("PEEBOT_DATABASE_URL", database_url)

    def run(asset: str) -> bool:
        job = build_definitions([jump]).resolve_implicit_global_asset_job_def()
        result = job.execute_in_process(
            instance=instance,
            asset_selection=[dg.AssetKey(asset)],
            partition_key=hour_key(day),
            raise_on_error=False,
        )
        return result.success

    return run


def test_a_detector_whose_session_the_server_has_ended_has_a_failed_check(
    computed: Callable[[str], bool],
    connection: psycopg.Connection,
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
    store_readings: StoreReadings,
    day: datetime,
) -> None:
    store_readings([(day, 5)])

    def takes_too_long(of_the_step: psycopg.Connection, *_: Any) -> None:
        of_the_step.close()
        raise psycopg.errors.IdleInTransactionSessionTimeout("it took too long")

    monkeypatch.setattr(detectors, "detect_span", takes_too_long)

    assert not computed("jump_events")

    row = connection.execute("SELECT last_error FROM processor_state WHERE detector = 'jump'").fetchone()
    assert row == ("IdleInTransactionSessionTimeout: it took too long",)
    checks = instance.all_logs(
        instance.get_runs()[0].run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION
    )
    told: list[Any] = [check.dagster_event and check.dagster_event.event_specific_data for check in checks]
    assert [evaluation.passed for evaluation in told] == [False]


@pytest.mark.parametrize(
    ("asset", "module", "name"),
    [("telemetry_minute", telemetry, "refresh_minutes"), ("jump_events", detectors, "detect_span")],
)
@pytest.mark.parametrize(
    ("failures", "error", "succeeds", "calls"),
    [
        (2, psycopg.OperationalError("the server is restarted"), True, 3),
        (3, psycopg.errors.DeadlockDetected("again and again"), False, 3),
        (1, ZeroDivisionError("a fault of the code"), False, 1),
    ],
)
def test_a_step_starts_again_if_the_store_failed_and_only_then(
    computed: Callable[[str], bool],
    monkeypatch: pytest.MonkeyPatch,
    store_readings: StoreReadings,
    day: datetime,
    asset: str,
    module: Any,
    name: str,
    failures: int,
    error: Exception,
    succeeds: bool,
    calls: int,
) -> None:
    store_readings([(day, 5)])
    flaky = DeadAtFirst(getattr(module, name), failures, error)
    monkeypatch.setattr(module, name, flaky)

    assert (computed(asset), flaky.calls) == (succeeds, calls)
