"""The sensor as Dagster calls it: a real store, a real instance, a real webhook."""

import logging
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import dagster as dg
import psycopg
import pytest

from ingest_daemon.metrics import Metrics
from peebot_dagster.alerts.conditions import Spool
from peebot_dagster.defs.alerts import alerts_sensor, failed_runs, look_from, spools
from peebot_dagster.defs.resources import Store
from tests.peebot_dagster.alerts.servers import PASSWORD, Webhook, webhook_server

MINUTE = timedelta(minutes=1)


@dg.op(config_schema={"fail": bool})
def perhaps(context: dg.OpExecutionContext) -> None:
    if context.op_config["fail"]:
        raise ZeroDivisionError("by design")


@dg.job(executor_def=dg.in_process_executor)
def shaky() -> None:
    perhaps()


def run(instance: dg.DagsterInstance, fail: bool, **tags: str) -> None:
    config = {"ops": {"perhaps": {"config": {"fail": fail}}}}
    shaky.execute_in_process(config, instance=instance, raise_on_error=False, tags=tags)


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    with webhook_server() as hook:
        yield hook


@pytest.fixture
def store(connection: psycopg.Connection, database_url: str) -> Store:
    """With a visit of an hour ago, and a feed that will be LIVE for a while."""
    now = datetime.now(UTC)
    connection.execute(
        "INSERT INTO link_interval (source, state, started_at, last_seen_at)"
        " VALUES ('isslive', 'LIVE', %s, %s)",
        (now - 60 * MINUTE, now + 60 * MINUTE),
    )
    connection.execute(
        "INSERT INTO detected_event VALUES"
        " (gen_random_uuid(), 'urine_tank', '1', 'toilet_visit', 5, %s, NULL, 'open', 1, '{}')",
        (now - 60 * MINUTE,),
    )
    connection.commit()
    return Store(database_url=database_url)


@pytest.fixture
def tick(store: Store, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> Callable[[], str]:
    monkeypatch.setenv("PEEBOT_ALERT_METRICS", "http://127.0.0.1:1/metrics")

    def look() -> str:
        reason = alerts_sensor(dg.build_sensor_context(instance=instance, resources={"store": store}))
        assert isinstance(reason, dg.SkipReason)
        return reason.skip_message or ""

    return look


def test_without_anybody_to_tell_the_tick_says_so(
    tick: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PEEBOT_ALERT_URLS", raising=False)
    assert "PEEBOT_ALERT_URLS is not set" in tick()


def test_a_failed_run_is_told_once_and_no_success_hides_it(
    tick: Callable[[], str],
    webhook: Webhook,
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PEEBOT_ALERT_URLS", webhook.url)
    assert tick() == "Nothing new to tell."
    run(instance, fail=True, **{"dagster/backfill": "abcd"})
    run(instance, fail=False, **{"dagster/backfill": "abcd"})
    assert tick() == "1 json was told: PeeBot: A run of backfill abcd failed"
    run(instance, fail=True, **{"dagster/backfill": "abcd"})
    assert tick() == "Nothing new to tell."
    run(instance, fail=True)
    run(instance, fail=False)
    assert tick() == "1 json was told: PeeBot: A run of shaky failed"
    run(instance, fail=False)
    assert tick() == "Nothing new to tell."
    assert len(webhook.received) == 2


def test_a_feed_that_is_down_for_ten_minutes_is_told(
    tick: Callable[[], str],
    webhook: Webhook,
    connection: psycopg.Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PEEBOT_ALERT_URLS", webhook.url)
    for ago, told in ((9, "Nothing new to tell."), (11, "1 json was told: PeeBot: The feed is DOWN")):
        connection.execute("UPDATE link_interval SET last_seen_at = now() - %s", (ago * MINUTE,))
        connection.commit()
        assert tick() == told


def test_a_destination_that_refuses_makes_the_tick_fail_and_nothing_tells_its_password(
    tick: Callable[[], str],
    webhook: Webhook,
    instance: dg.DagsterInstance,
    connection: psycopg.Connection,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("PEEBOT_ALERT_URLS", webhook.url)
    webhook.status = 500
    run(instance, fail=True)
    with caplog.at_level(logging.INFO), pytest.raises(dg.Failure, match="1 json answered 500") as failure:
        tick()
    later = tick()
    assert later == "1 json answered 500, and will be tried again"
    kept = connection.execute(
        "SELECT (SELECT json_agg(d)::text FROM alert_destination d),"
        " (SELECT json_agg(t)::text FROM alert_told t),"
        " (SELECT json_agg(c)::text FROM alert_condition c)"
    ).fetchall()
    logs = [
        event.message
        for record in instance.get_run_records()
        for event in instance.all_logs(record.dagster_run.run_id)
    ]
    everything = repr((failure.value, failure.getrepr(), later, kept, caplog.text, capfd.readouterr(), logs))
    assert "answered 500" in everything
    assert PASSWORD not in everything


def failed_jobs(instance: dg.DagsterInstance, later: timedelta = timedelta(0)) -> list[str]:
    now = datetime.now(UTC)
    return [each.job for each in failed_runs(instance, now - 60 * MINUTE, now + later)]


def test_a_run_that_is_retried_counts_no_failure_and_one_whose_retry_never_came_does(
    instance: dg.DagsterInstance,
) -> None:
    run(instance, fail=True, **{"dagster/will_retry": "true", "dagster/auto_retry_run_id": "1"})
    assert failed_jobs(instance, later=11 * MINUTE) == []
    run(instance, fail=True, **{"dagster/will_retry": "true"})
    assert failed_jobs(instance) == []
    assert failed_jobs(instance, later=11 * MINUTE) == ["shaky"]
    run(instance, fail=True, **{"dagster/will_retry": "false"})
    assert failed_jobs(instance) == ["shaky"]


def test_with_retries_a_failure_of_which_dagster_has_not_decided_waits(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(instance, fail=True)
    monkeypatch.setattr(dg.DagsterInstance, "run_retries_enabled", True)
    assert failed_jobs(instance) == []
    assert failed_jobs(instance, later=2 * MINUTE) == ["shaky"]


def test_it_looks_back_an_hour_before_the_last_good_tick_and_a_day_at_most() -> None:
    now, hour = datetime.now(UTC), 60 * MINUTE
    for cursor, since in (
        (None, hour),
        ("nonsense", hour),
        ((now + hour).isoformat(), hour),
        ((now - 2 * hour).isoformat(), 3 * hour),
        ((now - 48 * hour).isoformat(), 24 * hour),
    ):
        assert look_from(cursor, now) == now - since


def test_a_lost_cursor_tells_nothing_twice_and_a_tick_that_went_well_keeps_one(
    store: Store, webhook: Webhook, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PEEBOT_ALERT_URLS", webhook.url)
    monkeypatch.setenv("PEEBOT_ALERT_METRICS", "http://127.0.0.1:1/metrics")
    run(instance, fail=True)
    for _ in range(2):
        context = dg.build_sensor_context(instance=instance, resources={"store": store})
        alerts_sensor(context)
        assert context.cursor is not None
        assert abs(datetime.fromisoformat(context.cursor) - datetime.now(UTC)) < 10 * MINUTE
    assert len(webhook.received) == 1


def test_the_spool_is_that_of_the_daemons_own_metrics_and_unknown_where_nobody_answers() -> None:
    metrics = Metrics()
    metrics.spool_readings.set(7)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(metrics.exposition())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    here, nobody = f"127.0.0.1:{server.server_address[1]}", "127.0.0.1:1"
    urls = f"http://{here}/metrics http://{nobody}/metrics"
    assert spools({"PEEBOT_ALERT_METRICS": urls}) == [Spool(here, 7), Spool(nobody, None)]
    server.shutdown()
    thread.join()
    server.server_close()
